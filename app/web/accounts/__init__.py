"""Pages of users: sign in, the own account, and users for administrators.

sign_in.py  sign in and out by a password and a code, first password
account.py  the own account: second factor, recovery codes, password
users.py    users, for administrators: create, another role, a new link, remove
"""
