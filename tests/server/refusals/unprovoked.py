"""The codes of the protocol that no message can bring about here, and why."""

from __future__ import annotations

from twinlock.protocol.codes import ErrorCode

UNPROVOKED: dict[ErrorCode, str] = {
    ErrorCode.UNSPECIFIED: "means nothing; every refusal has a code of its own",
    ErrorCode.INTERNAL: "an internal failure is code 7 here, so that one code means one thing",
    ErrorCode.QUARANTINE: "a quarantined address is refused before there is a connection to answer on: HTTP 401",
    ErrorCode.VERSION_UNSUPPORTED: "the server ignores the client's version; the client compares `config.apiver`",
    ErrorCode.SERIALIZATION: "the bytes of every decoded message can be written down",
    ErrorCode.RESULT_LENGTH: "a wrong number of acknowledgements is code 31, as in the reference's list of checks",
    ErrorCode.ID_TYPE: "unused in the reference too",
    ErrorCode.PUBLIC_KEY: "a key that cannot be read is code 22 (section 4.6), in a coin's proof code 37",
    ErrorCode.FEE: "belongs to the registration fees that bonds replaced",
    ErrorCode.UNPAID_ACCOUNT: "accounts exist from their first bond on; before that it is code 50",
    ErrorCode.ROUTE_UNAVAILABLE: "a data API that is switched off is answered with code 59 (section 1.3)",
    ErrorCode.ACCOUNT_SUSPENDED: "deprecated; a tier below 1 is code 47",
}
