"""Who issues certificates: public authorities by their organisation's name, and programs that put themselves between.

Names are compared as parts of the issuer's, without case. Both lists are knowledge of 2026 and not complete: a name on
neither is said to be on neither.
"""

from __future__ import annotations

from typing import Final, Literal

INTERCEPTORS: Final = (
    "zscaler", "netskope", "palo alto", "globalprotect", "fortinet", "fortigate", "fortiguard", "cisco umbrella",
    "opendns", "bluecoat", "blue coat", "forcepoint", "websense", "mcafee", "skyhigh", "trellix", "sophos",
    "kaspersky", "eset ssl", "avast", "avg web", "bitdefender", "adguard", "norton web", "mitmproxy", "charles proxy",
    "fiddler", "do_not_trust", "portswigger", "burp", "proxyman", "http toolkit", "check point", "barracuda",
    "gateway ca - cloudflare", "cloudflare for teams", "lightspeed", "smoothwall", "iboss", "securly", "goguardian",
    "contentkeeper", "untangle", "watchguard", "sonicwall", "squid", "cato networks", "menlo security", "umbrella",
    "dr.web", "privoxy", "little snitch", "whistle", "surge generated", "trend micro deep", "interceptor", "ssl inspection",
)  # fmt: skip
"Security gateways, virus scanners and debugging proxies, as they call their own authorities."

PUBLIC: Final = (
    "google trust services", "digicert", "let's encrypt", "internet security research group", "isrg", "sectigo",
    "comodo", "usertrust", "addtrust", "amazon", "starfield", "godaddy", "globalsign", "entrust", "identrust",
    "digital signature trust", "microsoft", "baltimore", "cybertrust", "ssl corporation", "ssl.com", "certum",
    "unizeto", "asseco", "buypass", "actalis", "hellenic academic", "harica", "quovadis", "swisssign", "telia",
    "d-trust", "t-systems", "deutsche telekom", "cloudflare, inc.", "apple", "certainly", "emudhra", "e-tugra",
    "izenpe", "camerfirma", "secom", "security communication", "thawte", "geotrust", "verisign", "symantec", "trustwave",
    "securetrust", "network solutions", "zerossl", "certsign", "microsec", "netlock", "chunghwa", "twca", "naver",
    "gdca", "trustasia", "wotrus", "sheca", "cfca", "hongkong post", "gts root",
)  # fmt: skip
"Authorities that browsers trust, and their former names that still stand on roots."

Kind = Literal["public", "interceptor", "unknown"]


def kind_of(issuer: str | None, root: str | None = None) -> tuple[Kind, str]:
    """Whether either name is an interceptor's, or the root is a public authority's, and which name it was.

    The root decides where it is known: anybody can call an issuer below a root of his own as he likes.
    """
    said = [one for one in (issuer, root) if one]
    for name in said:
        if any(known in name.lower() for known in INTERCEPTORS):
            return "interceptor", name
    if said and any(known in said[-1].lower() for known in PUBLIC):
        return "public", said[-1]
    return "unknown", said[-1] if said else ""
