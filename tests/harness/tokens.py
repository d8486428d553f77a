"""JSON Web Tokens made by hand: HS256 with hmac, the others signed by the openssl command."""

import base64
import hashlib
import hmac
import json
import pathlib
import subprocess
import time


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def signing_input(algorithm: str, claims: dict, header=None) -> bytes:
    header = {"alg": algorithm, "typ": "JWT", **(header or {})}
    parts = (json.dumps(part, separators=(",", ":")).encode() for part in (header, claims))
    return ".".join(base64url(part) for part in parts).encode("ascii")


def claims_for(user: str, **others) -> dict:
    """Claims of a token that is good for ten minutes; a value of None removes the claim."""
    now = int(time.time())
    claims = {"sub": user, "iat": now, "exp": now + 600, **others}
    return {name: value for name, value in claims.items() if value is not None}


def hs256(secret: bytes, claims: dict, algorithm: str = "HS256", header=None) -> str:
    text = signing_input(algorithm, claims, header)
    return f"{text.decode()}.{base64url(hmac.new(secret, text, hashlib.sha256).digest())}"


def unsigned(claims: dict, algorithm: str = "none") -> str:
    return signing_input(algorithm, claims).decode() + "."


def _openssl(*arguments) -> bytes:
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True,
                          stdin=subprocess.DEVNULL).stdout


def _raw_from_der(signature: bytes) -> bytes:
    """r || s of 32 bytes each, as RFC 7518 wants them, from the DER that openssl writes."""
    assert signature[0] == 0x30
    position, numbers = 2, []
    for _ in range(2):
        assert signature[position] == 0x02
        length = signature[position + 1]
        value = signature[position + 2:position + 2 + length]
        numbers.append(value.lstrip(b"\0").rjust(32, b"\0"))
        position += 2 + length
    return b"".join(numbers)


class KeyPair:
    """A private key with its public PEM file. `algorithm`: RS256, ES256 or EdDSA."""

    _GENERATE = {
        "RS256": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
        "ES256": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
        "EdDSA": ("-algorithm", "ED25519"),
    }

    def __init__(self, algorithm: str, folder, name: str):
        folder = pathlib.Path(folder)
        self.algorithm = algorithm
        self.private_file = folder / f"{name}.key.pem"
        self.public_file = folder / f"{name}.pub.pem"
        self._scratch = folder / f"{name}.input"
        _openssl("genpkey", *self._GENERATE[algorithm], "-out", self.private_file)
        _openssl("pkey", "-in", self.private_file, "-pubout", "-out", self.public_file)

    @property
    def public_pem(self) -> str:
        return self.public_file.read_text("ascii")

    def token(self, claims: dict, header=None) -> str:
        text = signing_input(self.algorithm, claims, header)
        self._scratch.write_bytes(text)
        if self.algorithm == "EdDSA":
            signature = _openssl("pkeyutl", "-sign", "-rawin", "-inkey", self.private_file,
                                 "-in", self._scratch)
        else:
            signature = _openssl("dgst", "-sha256", "-sign", self.private_file, self._scratch)
            if self.algorithm == "ES256":
                signature = _raw_from_der(signature)
        return f"{text.decode()}.{base64url(signature)}"
