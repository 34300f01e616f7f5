"""The reconstruction models (DDL, section 3.1) and a reader of the released weights."""
