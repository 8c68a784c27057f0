"""The pages' server side: static files, sent with headers that let nothing from elsewhere in.

The operator's page stands (`operator`); it talks to the operator API of `twinlock.server.admin`.
"""
