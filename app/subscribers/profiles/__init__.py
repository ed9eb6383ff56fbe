"""Subscribers' data: create, change, delete, list, bulk upsert and export.

crud           one subscriber: create, change, delete
bulk, upsert   many subscribers at once; entry has the rules of merging
queries        read one subscriber, or a page of a list
search         find subscribers by the beginning of their name, list the newest
export_csv     all subscribers as CSV
person_export  all data of one person

A Person is a subscriber's row with its tags and the number's suppression.
"""
