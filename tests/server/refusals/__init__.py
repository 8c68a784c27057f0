"""Every message that the protocol's reference refuses, as data: one row per route, defect and code.

Rows of one scene are sent, one after another, to one live server that the scene has brought into the right state; a row
changes nothing, because each is refused. `tests/server/test_refusals.py` plays the scenes and counts the codes.
"""
