"""An order's life over HTTP: pay, cancel, look; and what holds for every order that is shown."""

import datetime
import time

from . import contract
from .waiting import eventually
from .wire import build_request

ENDED = ("paid", "cancelled", "expired", "refused")  # never change again
LIVE = ("queued", "confirmed", "paid")  # keep their units
CLOCK_STEP = datetime.timedelta(milliseconds=2)  # times are shown in milliseconds


# -- calls --------------------------------------------------------------------------------------

def pay(server, order: str, ref, headers=None):
    """The shop's word that the order was paid."""
    return server.admin("POST", f"/v1/orders/{order}/pay", {"payment_ref": ref}, headers)


def cancel(server, order: str, user: str = None):
    headers = {} if user is None else {"X-User-Id": user}
    return server.call("POST", f"/v1/orders/{order}/cancel", headers)


def decided(ask, what: str):
    """The answer to a change, with the patience that a Retry-After asks for: it waits 2 s for the
    store, and 503 is what it hears of one that stood still for longer."""
    answers = []

    def is_decided():
        answers.append(ask())
        return answers[-1].status != 503

    eventually(is_decided, f"{what} is decided")
    return answers[-1]


def paid(server, order: str, ref: str = "payment-1") -> dict:
    """A payment that must be taken; the order."""
    answer = decided(lambda: pay(server, order, ref), f"the payment of {order}")
    shown = check_order(contract.expect(answer, 200))
    assert shown["status"] == "paid" and shown["order_id"] == order, shown
    return shown


def cancelled(server, order: str, user: str) -> dict:
    """A cancellation that must be taken; the order."""
    answer = decided(lambda: cancel(server, order, user), f"the cancellation of {order}")
    shown = check_order(contract.expect(answer, 200))
    assert shown["status"] == "cancelled" and shown["order_id"] == order, shown
    return shown


def shown_to(server, order: str, user: str) -> dict:
    return check_order(contract.expect(server.order(order, user), 200))


def pay_bytes(server, order: str, ref: str) -> bytes:
    """The bytes of a payment, for clients that send many; for servers without a token."""
    return _post(server, f"/v1/orders/{order}/pay", b'{"payment_ref":"%s"}' % ref.encode("ascii"))


def cancel_bytes(server, order: str, user: str) -> bytes:
    return _post(server, f"/v1/orders/{order}/cancel", b"", user)


def audit_bytes(server, sale: str) -> bytes:
    return build_request("GET", f"/v1/sales/{sale}/audit", server.host)


def _post(server, target: str, body: bytes, user: str = None) -> bytes:
    headers = {} if user is None else {"X-User-Id": user}
    return build_request("POST", target, server.host, headers, body)


# -- checks -------------------------------------------------------------------------------------

def check_order(order: dict, timeout_s: float = None) -> dict:
    """The order is complete and consistent in itself; `timeout_s` is its sale's, where known."""
    assert set(order) >= contract.ORDER_FIELDS | {"payment_ref"}, order
    status = order["status"]
    assert status in ENDED or status in LIVE, order
    created = contract.time_of(order["created_at"])
    expires = order["expires_at"] and contract.time_of(order["expires_at"])
    # The version counts the changes: into the store, then to the end.
    assert order["version"] == {"queued": 0, "confirmed": 1}.get(status, order["version"]), order
    if status in ("paid", "cancelled", "expired"):
        assert order["version"] == 2, order
        assert expires is not None, order
    if status == "paid":
        assert isinstance(order["payment_ref"], str) and order["payment_ref"], order
        assert created <= contract.time_of(order["paid_at"]) + CLOCK_STEP, order
        assert contract.time_of(order["paid_at"]) <= expires, f"paid too late: {order}"
    else:
        assert order["paid_at"] is None and order["payment_ref"] is None, order
    if status == "expired":
        now = datetime.datetime.now(datetime.timezone.utc)
        assert expires <= now + CLOCK_STEP, f"expired before its time: {order} at {now}"
    if timeout_s is not None and status != "queued":
        assert expires - created >= datetime.timedelta(seconds=timeout_s) - CLOCK_STEP, order
    return order


def check_refusal(response, code: str, order: str, status: str) -> dict:
    """A refused payment or cancellation names the order and its true status."""
    problem = contract.expect(response, 409, code)
    assert problem.get("order_id") == order, f"{code} carries order_id: {response}"
    assert problem.get("order_status") == status, f"order_status must be {status}: {response}"
    return problem


def reaches(server, order: str, user: str, status: str) -> dict:
    """Waits until the order has the status; fails at once when it ends in another one."""
    def look():
        shown = shown_to(server, order, user)
        if shown["status"] == status:
            return shown
        assert shown["status"] not in ENDED, f"ended otherwise than {status}: {shown}"
        return None
    return eventually(look, f"order {order} is {status}")


def has_remaining(server, sale: str, units: int) -> None:
    """Waits until so many units are for sale, in the store's books and the inventory's."""
    def look():
        shown = server.sale(sale)
        assert shown["sold_out"] is (shown["remaining"] <= 0), shown
        audit = contract.check_audit(server.audit(sale))
        return shown["remaining"] == units and audit["remaining"] == units \
            and audit["inventory_remaining"] == units
    eventually(look, f"{units} units of {sale} are for sale")


def seconds_until(moment: datetime.datetime) -> float:
    return (moment - datetime.datetime.now(datetime.timezone.utc)).total_seconds()


def await_moment(moment: datetime.datetime) -> None:
    """Returns at that time of the clock which the server on this machine reads as well."""
    while (left := seconds_until(moment)) > 0:
        time.sleep(min(left / 2 + 0.0001, 0.05))  # poll: the clock
