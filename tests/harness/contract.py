"""The contract's rules that hold for every answer, whatever the call was."""

import datetime
import re

STATUS_OF_CODE = {
    "sold_out": 409, "limit_reached": 409, "not_started": 409, "paused": 409, "closed": 410,
    "overloaded": 503, "unavailable": 503, "idempotency_mismatch": 422, "unauthorized": 401,
    "forbidden": 403, "not_found": 404, "method_not_allowed": 405, "timeout": 408,
    "payload_too_large": 413, "uri_too_long": 414, "unsupported_media_type": 415,
    "headers_too_large": 431, "invalid_request": 400, "already_exists": 409, "below_sold": 409,
    "not_payable": 409, "not_cancellable": 409, "invalid_state": 409,
    "lost_race": 409,
}
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
RFC3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")

SALE_FIELDS = {"id", "title", "state", "sold_out", "stock", "remaining", "per_user_limit",
               "starts_at", "ends_at", "price", "currency", "payment_timeout_s", "server_time"}
PURCHASE_FIELDS = {"order_id", "sale_id", "user_id", "quantity", "status", "created_at"}
ORDER_FIELDS = PURCHASE_FIELDS | {"expires_at", "paid_at", "version"}
AUDIT_FIELDS = {"sale_id", "stock", "sold", "remaining", "orders", "log_accepted_units",
                "inventory_remaining", "violations", "balanced"}
CSV_HEADER = ("order_id,sale_id,user_id,quantity,status,created_at,expires_at,paid_at,"
              "payment_ref")


def time_of(text: str) -> datetime.datetime:
    """Parses an RFC 3339 UTC time, and fails when it is not one."""
    assert RFC3339_UTC.fullmatch(text), f"not an RFC 3339 UTC time: {text!r}"
    whole, _, fraction = text.replace("+00:00", "Z").rstrip("Z").partition(".")
    moment = datetime.datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S")
    microseconds = int((fraction + "000000")[:6]) if fraction else 0
    return moment.replace(microsecond=microseconds, tzinfo=datetime.timezone.utc)


def rfc3339(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def seconds_from_now(seconds: float) -> str:
    now = datetime.datetime.now(datetime.timezone.utc)
    return rfc3339(now + datetime.timedelta(seconds=seconds))


def retry_after_of(response) -> int:
    """Retry-After as whole seconds, at least one."""
    value = response.header("retry-after")
    assert value is not None, f"Retry-After is missing: {response}"
    assert re.fullmatch(r"\d+", value), f"Retry-After must be whole seconds: {value!r}"
    assert int(value) >= 1, f"Retry-After is rounded up, so never 0: {value!r}"
    return int(value)


def check_problem(response) -> dict:
    """The answer is a complete RFC 9457 document of the contract; returns it."""
    content_type = (response.header("content-type") or "").split(";")[0].strip()
    assert content_type == "application/problem+json", response
    problem = response.json()
    for member in ("type", "title", "status", "detail", "code"):
        assert member in problem, f"{member} is missing: {response}"
    assert problem["type"] == f"/problems/{problem['code']}", problem
    assert problem["status"] == response.status, response
    for member in ("title", "detail"):
        assert isinstance(problem[member], str) and problem[member], problem
    code = problem["code"]
    if code != "rate_limited":
        assert STATUS_OF_CODE.get(code) == response.status, f"{code} with {response.status}"
    if code == "sold_out":
        assert isinstance(problem.get("remaining"), int), f"sold_out carries remaining: {problem}"
    if code == "method_not_allowed":
        assert response.header("allow"), f"405 carries Allow: {response}"
    if code in ("overloaded", "unavailable", "rate_limited"):
        retry_after_of(response)
    return problem


def check_answer(response, method: str = "GET"):
    """What holds for every answer of the API; returns the answer."""
    for name, _ in response.headers:
        assert not name.startswith("access-control-"), f"no CORS headers: {response}"
    request_id = response.header("x-request-id")
    assert request_id is not None and REQUEST_ID.fullmatch(request_id), \
        f"X-Request-Id is missing or malformed: {response}"
    assert response.status < 500 or response.status == 503, response
    if response.status >= 400 and method != "HEAD":
        check_problem(response)
    return response


def expect(response, status: int, code: str = None):
    """Asserts status and problem code; returns the parsed body."""
    assert response.status == status, f"expected {status} {code or ''}: {response}"
    body = response.json()
    if code is not None:
        assert body["code"] == code, f"expected {code}: {response}"
    return body


def check_audit(audit: dict, **expected) -> dict:
    """An audit object is complete, consistent in itself, balanced, and has these values."""
    assert AUDIT_FIELDS <= set(audit), audit
    assert audit["violations"] == [], audit
    assert audit["balanced"] is True, audit
    assert audit["remaining"] == audit["stock"] - audit["sold"], audit
    assert 0 <= audit["sold"] <= audit["stock"], audit
    for name, value in expected.items():
        assert audit[name] == value, f"{name} must be {value}: {audit}"
    return audit
