"""The same server over TLS, by its settings."""

import socket
import ssl
import subprocess

import pytest

from harness import contract
from harness.server import run_command
from harness.settings import READY_S


@pytest.fixture(name="certificate", scope="module")
def _certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "cert.pem", folder / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", files[0],
                    "-keyout", files[1]], check=True, capture_output=True)
    return files


@pytest.fixture(name="secure")
def _secure(make_server, certificate):
    context = ssl.create_default_context(cafile=str(certificate[0]))
    return make_server(tls=context, settings={"server.tls_cert": certificate[0],
                                              "server.tls_key": certificate[1]})


def test_a_sale_over_tls(secure):
    sale = secure.create_sale(5)
    order = secure.bought(sale, "buyer")
    assert secure.confirmed(order["order_id"], "buyer")["quantity"] == 1
    with secure.connect() as connection:
        connection.send(b"".join(secure.purchase_bytes(sale, f"buyer-{number}")
                                 for number in range(10)))
        statuses = [connection.read_response().status for _ in range(10)]
    assert statuses == [202] * 4 + [409] * 6
    contract.check_audit(secure.audit(sale), sold=5)


def test_plain_text_and_noise_on_the_tls_port_do_no_harm(secure):
    sale = secure.create_sale(5)
    for data in (b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 500, b"\x16\x03\x01\xff\xff",
                 b"\x16\x03\x01\0\x05hello"):
        with socket.create_connection(("127.0.0.1", secure.port), timeout=READY_S) as plain:
            plain.sendall(data)
            plain.shutdown(socket.SHUT_WR)
            answer = b""
            try:
                while received := plain.recv(65536):
                    answer += received
            except ConnectionResetError:
                pass
            assert not answer.startswith(b"HTTP/1.1 2")
    secure.bought(sale, "buyer")


def test_a_certificate_that_is_not_there_is_said_clearly(tmp_path, certificate):
    result = run_command("serve", "--listen", "127.0.0.1:0", "--data", tmp_path / "data",
                         folder=tmp_path, bound_s=READY_S,
                         environment={"DOORBUSTER_SERVER_TLS_CERT": str(tmp_path / "gone.pem"),
                                      "DOORBUSTER_SERVER_TLS_KEY": str(certificate[1])})
    assert result.status in (1, 2), result
    assert "gone.pem" in result.stderr, result
