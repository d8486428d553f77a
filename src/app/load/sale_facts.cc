#include "app/load/sale_facts.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include "app/load/http_call.h"

namespace doorbuster::load {

Result<SaleFacts> read_sale(const Target& target, std::string_view sale_id, Duration timeout) {
    HttpCall call;
    call.path = fmt::format("/v1/sales/{}", sale_id);
    const auto answer = http_call(target, call, timeout);
    if (!answer) return tl::unexpected(answer.error());
    if (answer->status == 404) {
        return fail(Errc::not_found,
                    fmt::format("{} has no sale '{}'", target.url.authority(), sale_id));
    }
    if (answer->status != 200) {
        return fail(Errc::unavailable,
                    fmt::format("reading sale '{}': {}", sale_id, describe(*answer)));
    }
    boost::system::error_code error;
    const boost::json::value value = boost::json::parse(answer->body, error);
    const boost::json::object* const sale = error ? nullptr : value.if_object();
    bool is_complete = sale != nullptr;
    const auto number = [&](std::string_view name) -> std::int64_t {
        const boost::json::value* const field = sale == nullptr ? nullptr : sale->if_contains(name);
        const bool is_good = field != nullptr && field->is_int64() && field->get_int64() >= 0;
        is_complete = is_complete && is_good;
        return is_good ? field->get_int64() : 0;
    };
    SaleFacts facts;
    facts.stock = number("stock");
    facts.remaining = number("remaining");
    facts.per_user_limit = number("per_user_limit");
    facts.payment_timeout_s = number("payment_timeout_s");
    if (!is_complete || facts.remaining > facts.stock) {
        return fail(Errc::corrupt, fmt::format("sale '{}' lacks stock, remaining, per_user_limit "
                                               "or payment_timeout_s: {}",
                                               sale_id, answer->body.substr(0, 200)));
    }
    return facts;
}

} // namespace doorbuster::load
