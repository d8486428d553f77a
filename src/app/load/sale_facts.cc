#include "app/load/sale_facts.h"

#include <boost/json.hpp>
#include <fmt/format.h>

namespace doorbuster::load {

Result<SaleFacts> read_sale(const ServerOptions& server, std::string_view sale_id) {
    auto client = ServerClient::create(server, {});
    if (!client) return tl::unexpected(client.error());
    const auto answer = client->get(fmt::format("/v1/sales/{}", sale_id));
    if (!answer) return tl::unexpected(answer.error());
    const boost::json::object* const sale = answer->if_object();
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
        return fail(Errc::corrupt,
                    fmt::format("sale '{}' lacks stock, remaining, per_user_limit "
                                "or payment_timeout_s: {}",
                                sale_id, boost::json::serialize(*answer).substr(0, 200)));
    }
    return facts;
}

} // namespace doorbuster::load
