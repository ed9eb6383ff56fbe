"""`flask send`: a broadcast from the command line."""
