"""The pages' server side: static files, sent with headers that let nothing from elsewhere in.

`operator` is the exchange operator's page, over `twinlock.server.admin`; `trader` is the trader's, over
`twinlock.client.control`.
"""
