"""Buyers with JSON Web Tokens: good ones are let in under every algorithm, forged ones never."""

import json
import time

import pytest

from harness import contract
from harness.plugin import Servers
from harness.tokens import KeyPair, base64url, claims_for, hs256, signing_input, unsigned

ADMIN = "admin-token-of-the-identity-tests"
SECRET = "a-shared-secret-of-thirty-two-bytes-or-more"
ISSUER = "https://login.example"
AUDIENCE = "flash-sale"
ALGORITHMS = ("RS256", "ES256", "EdDSA")


def toml(keys, issuer=True) -> str:
    lines = ["[identity]", 'mode = "jwt"', f"jwt_keys = {json.dumps([str(key) for key in keys])}"]
    if issuer:
        lines += [f'jwt_issuer = "{ISSUER}"', f'jwt_audience = "{AUDIENCE}"']
    return "\n".join(lines) + "\n"


def claims(user="buyer", **others) -> dict:
    return claims_for(user, **{"iss": ISSUER, "aud": AUDIENCE, **others})


def bearer(token: str) -> dict:
    return {"Authorization": f"Bearer {token}"}


class Gate:
    """Servers in JWT mode: one that knows every public key, one that knows the secret."""

    def __init__(self, folder):
        self.keys = {name: KeyPair(name, folder, name.lower()) for name in ALGORITHMS}
        self.second = {name: KeyPair(name, folder, f"{name.lower()}-next")
                       for name in ALGORITHMS}
        self.stranger = {name: KeyPair(name, folder, f"{name.lower()}-stranger")
                         for name in ALGORITHMS}
        self._servers = Servers(folder)
        files = [f"file:{pair.public_file}" for pair in
                 (*self.keys.values(), *self.second.values())]
        self.public = self._servers(config=toml(files), admin_token=ADMIN)
        self.shared = self._servers(config=toml([f"hs256:{SECRET}"]), admin_token=ADMIN)
        self.sales = {server: server.create_sale(100_000, per_user_limit=100_000)
                      for server in (self.public, self.shared)}

    def buy(self, server, token, **headers):
        return server.call("POST", f"/v1/sales/{self.sales[server]}/purchases",
                           {**(bearer(token) if token is not None else {}), **headers})

    def finish(self):
        self._servers.finish(judge=True)


@pytest.fixture(name="gate", scope="module")
def _gate(tmp_path_factory):
    gate = Gate(tmp_path_factory.mktemp("identity"))
    yield gate
    gate.finish()


def check_refused(gate, server, token) -> None:
    contract.expect(gate.buy(server, token), 401, "unauthorized")


# -- good tokens ------------------------------------------------------------------------------

@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_signed_token_names_the_buyer(gate, algorithm):
    token = gate.keys[algorithm].token(claims(f"buyer-{algorithm}"))
    bought = contract.expect(gate.buy(gate.public, token), 202)
    assert bought["user_id"] == f"buyer-{algorithm}"
    path = f"/v1/orders/{bought['order_id']}"
    contract.expect(gate.public.call("GET", path, bearer(token)), 200)
    other = gate.keys[algorithm].token(claims("someone-else"))
    contract.expect(gate.public.call("GET", path, bearer(other)), 404, "not_found")
    contract.expect(gate.public.admin("GET", path), 200)


def test_a_token_of_the_shared_secret_names_the_buyer(gate):
    bought = contract.expect(gate.buy(gate.shared, hs256(SECRET.encode(), claims())), 202)
    assert bought["user_id"] == "buyer"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_next_key_is_good_while_keys_rotate(gate, algorithm):
    contract.expect(gate.buy(gate.public, gate.second[algorithm].token(claims())), 202)


def test_a_key_may_stand_in_the_file_itself(make_server, tmp_path):
    pair = KeyPair("ES256", tmp_path, "inline")
    server = make_server(config=toml([pair.public_pem], issuer=False), admin_token=ADMIN)
    sale = server.create_sale(5)
    token = pair.token(claims_for("buyer"))
    contract.expect(server.buy(sale, headers=bearer(token)), 202)


def test_two_shared_secrets_are_both_good(make_server):
    keys = [f"hs256:{SECRET}", SECRET[::-1]]
    server = make_server(config=toml(keys, issuer=False), admin_token=ADMIN)
    sale = server.create_sale(5, per_user_limit=5)
    for secret in (SECRET, SECRET[::-1]):
        token = hs256(secret.encode(), claims_for("buyer"))
        contract.expect(server.buy(sale, headers=bearer(token)), 202)
    token = hs256(b"a-third-secret-that-nobody-has-ever-configured", claims_for("buyer"))
    contract.expect(server.buy(sale, headers=bearer(token)), 401)


@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE], ["other", AUDIENCE]])
def test_the_audience_may_be_one_of_several(gate, audience):
    token = hs256(SECRET.encode(), claims(aud=audience))
    contract.expect(gate.buy(gate.shared, token), 202)


def test_the_key_of_a_purchase_belongs_to_the_tokens_user(gate):
    orders = set()
    for user in ("anna", "anna", "berta"):
        token = hs256(SECRET.encode(), claims(user))
        response = gate.buy(gate.shared, token, **{"Idempotency-Key": "same"})
        orders.add(contract.expect(response, 202)["order_id"])
    assert len(orders) == 2


# -- bad tokens -------------------------------------------------------------------------------

def test_no_token_is_no_buyer_whatever_the_header_says(gate):
    contract.expect(gate.buy(gate.public, None), 401, "unauthorized")
    contract.expect(gate.buy(gate.public, None, **{"X-User-Id": "buyer"}), 401, "unauthorized")


def test_the_header_cannot_change_the_tokens_user(gate):
    token = gate.keys["ES256"].token(claims("honest"))
    response = gate.buy(gate.public, token, **{"X-User-Id": "victim"})
    assert contract.expect(response, 202)["user_id"] == "honest"


NOW = int(time.time())
BAD_CLAIMS = {
    "expired": {"exp": NOW - 3600}, "not yet valid": {"nbf": NOW + 36000},
    "another issuer": {"iss": "https://evil.example"}, "no issuer": {"iss": None},
    "another audience": {"aud": "other-shop"}, "no audience": {"aud": None},
    "other audiences": {"aud": ["a", "b"]}, "an issuer of a wrong type": {"iss": [ISSUER]},
    "expiry as text": {"exp": "tomorrow"}, "start as text": {"nbf": "yesterday"},
    "no subject": {"sub": None}, "an empty subject": {"sub": ""},
    "a subject of a wrong type": {"sub": 5}, "a subject that is too long": {"sub": "x" * 129},
    "a subject with control characters": {"sub": "a\nb"}, "a subject with a NUL": {"sub": "a\0b"},
    "a subject with spaces at its ends": {"sub": " buyer "},
}


@pytest.mark.parametrize("name", BAD_CLAIMS)
def test_bad_claims_are_refused(gate, name):
    check_refused(gate, gate.shared, hs256(SECRET.encode(), claims(**BAD_CLAIMS[name])))
    check_refused(gate, gate.public, gate.keys["ES256"].token(claims(**BAD_CLAIMS[name])))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_strangers_signature_is_refused(gate, algorithm):
    check_refused(gate, gate.public, gate.stranger[algorithm].token(claims()))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
def test_an_unsigned_token_is_refused(gate, algorithm):
    for server in (gate.public, gate.shared):
        check_refused(gate, server, unsigned(claims(), algorithm))
        check_refused(gate, server, unsigned(claims(), algorithm) + "AAAA")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_public_key_is_no_shared_secret(gate, algorithm):
    pem = gate.keys[algorithm].public_pem
    for secret in (pem, pem.strip(), "".join(pem.splitlines()[1:-1])):
        check_refused(gate, gate.public, hs256(secret.encode(), claims()))
        check_refused(gate, gate.public, hs256(secret.encode(), claims(), algorithm))


def test_the_shared_secret_signs_nothing_but_its_own_algorithm(gate):
    for algorithm in (*ALGORITHMS, "HS384", "HS512", "hs256", "XX256"):
        check_refused(gate, gate.shared, hs256(SECRET.encode(), claims(), algorithm))


@pytest.mark.parametrize("claimed", ["RS384", "PS256", "ES384", "ES256", "EdDSA", "HS256"])
def test_a_signature_under_another_name_is_refused(gate, claimed):
    pair = gate.keys["RS256"]
    token = pair.token(claims(), header={"alg": claimed})
    check_refused(gate, gate.public, token)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_changed_token_is_refused(gate, algorithm):
    header, payload, signature = gate.keys[algorithm].token(claims("honest")).split(".")
    forged = base64url(json.dumps(claims("victim")).encode())
    check_refused(gate, gate.public, f"{header}.{forged}.{signature}")
    flipped = ("B" if signature[0] != "B" else "C") + signature[1:]
    check_refused(gate, gate.public, f"{header}.{payload}.{flipped}")
    check_refused(gate, gate.public, f"{header}.{payload}.{signature[:-8]}")
    check_refused(gate, gate.public, f"{header}.{payload}.")
    check_refused(gate, gate.public, f"{header}.{payload}")


def test_a_signature_of_zeros_is_refused(gate):
    text = signing_input("ES256", claims()).decode()
    check_refused(gate, gate.public, f"{text}.{base64url(bytes(64))}")


def test_a_key_inside_the_token_is_not_trusted(gate):
    header = {"jwk": {"kty": "oct", "k": base64url(b"my own secret")},
              "jku": "http://127.0.0.1:1/keys.json", "x5u": "http://127.0.0.1:1/", "kid": "../x"}
    check_refused(gate, gate.shared, hs256(b"my own secret", claims(), header=header))
    check_refused(gate, gate.public, gate.stranger["ES256"].token(claims(), header=header))


@pytest.mark.parametrize("token", [
    "x", "..", "a.b.c", "e30.e30.e30", "e30.e30.", ".e30.", "=.=.=", "a.b.c.d.e", "%00.%00.%00",
    "eyJhbGciOiJIUzI1NiJ9..", "x" * 7000, "." * 7000,
    base64url(b'{"alg":"HS256"') + ".e30.AAAA", base64url(b"[" * 2000) + ".e30.AAAA",
    base64url(b'{"alg":["HS256"]}') + ".e30.AAAA", base64url(b"null") + ".e30.AAAA"])
def test_what_is_no_token_is_refused(gate, token):
    for server in (gate.public, gate.shared):
        check_refused(gate, server, token)


def test_another_scheme_is_no_token(gate):
    token = hs256(SECRET.encode(), claims())
    for value in (f"Basic {token}", token, f"Token {token}"):
        response = gate.shared.call("POST", f"/v1/sales/{gate.sales[gate.shared]}/purchases",
                                    {"Authorization": value})
        contract.expect(response, 401, "unauthorized")


def test_a_buyers_token_is_no_administrator(gate):
    token = hs256(SECRET.encode(), claims("admin", admin=True, role="admin"))
    contract.expect(gate.shared.call("GET", "/v1/sales", bearer(token)), 403, "forbidden")
    for nobody in ({}, bearer(token[:-4]), bearer("x"), {"X-User-Id": "admin"}):
        contract.expect(gate.shared.call("GET", "/v1/sales", nobody), 401, "unauthorized")


def test_the_admin_token_is_no_buyer(gate):
    contract.expect(gate.buy(gate.shared, ADMIN), 401, "unauthorized")
