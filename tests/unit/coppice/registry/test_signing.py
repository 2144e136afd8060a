"""The expected signatures are those of Amazon's documentation, "Signature Calculations for the
Authorization Header", computed there with the example keys."""

from __future__ import annotations

import pytest

from coppice.registry import signing

WHO = signing.Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
HOST = "examplebucket.s3.amazonaws.com"
NOON = 1369353600.0
"""2013-05-24T00:00:00Z, the moment of all examples."""


def signed(request: signing.Request, who: signing.Credentials = WHO) -> str:
    headers = signing.sign(request, who, region="us-east-1", now=NOON)
    return headers["authorization"].rpartition("Signature=")[2]


@pytest.mark.parametrize(
    ("request_", "signature"),
    [
        (
            signing.Request("GET", HOST, "/test.txt", {}, {"Range": "bytes=0-9"}, signing.EMPTY),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            signing.Request(
                "PUT",
                HOST,
                "/test%24file.text",
                {},
                {
                    "Date": "Fri, 24 May 2013 00:00:00 GMT",
                    "x-amz-storage-class": "REDUCED_REDUNDANCY",
                },
                "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            ),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            signing.Request("GET", HOST, "/", {"lifecycle": ""}, {}, signing.EMPTY),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            signing.Request("GET", HOST, "/", {"prefix": "J", "max-keys": "2"}, {}, signing.EMPTY),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
    ids=["get", "put", "lifecycle", "list"],
)
def test_a_signature_is_the_documented_one(request_: signing.Request, signature: str) -> None:
    assert signed(request_) == signature


def test_a_key_is_quoted_as_the_store_quotes_it() -> None:
    assert signing.quote("/test$file.text") == "/test%24file.text"


def test_a_session_token_is_sent_and_signed() -> None:
    who = WHO._replace(token="a-token")
    headers = signing.sign(
        signing.Request("GET", HOST, "/", {}, {}, signing.EMPTY), who, region="x", now=NOON
    )

    assert headers["x-amz-security-token"] == "a-token"
    assert "x-amz-security-token" in headers["authorization"]


def test_credentials_do_not_show_their_secret() -> None:
    assert repr(WHO) == "Credentials(...)"
    assert WHO.secret not in f"{WHO} {[WHO]}"
