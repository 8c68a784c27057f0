"""The operator's API: a listener of its own, off by default, behind TLS and a password (protocol section 10.4).

Reading is GET, changing is POST; every change is logged with what was changed. The paths and results are those that
operators of other servers know.
"""
