// The operators' calls. Api::answer_now has checked that the caller may administer.
#include <algorithm>
#include <functional>

#include "adapters/http/api.h"
#include "adapters/http/lists.h"
#include "adapters/http/views.h"
#include "domain/json_text.h"

namespace doorbuster::http {
namespace {

constexpr std::int64_t kPaymentTimeoutMaxS = 365LL * 24 * 3'600; // more is a typing error
constexpr Duration kMayHappenRetryAfter{1'000};

Parsed<std::optional<TimePoint>> time_of(const JsonFields& fields, std::string_view name) {
    const auto text = fields.text(name);
    if (!text) return tl::make_unexpected(text.error());
    if (!*text) return std::optional<TimePoint>();
    const auto time = parse_rfc3339(**text);
    if (!time) return invalid(std::string(name), "must be an RFC 3339 time, 2026-11-27T09:00:00Z");
    return time;
}

bool is_title(std::string_view text) {
    // The same rule as a user id's, with more room: printable UTF-8 that a page can show.
    std::size_t characters = 0;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7f) return false;
        if ((byte & 0xc0) != 0x80) ++characters;
    }
    return characters >= 1 && characters <= kTitleMax;
}

Parsed<std::string> title_of(const JsonFields& fields) {
    auto title = fields.text("title");
    if (!title) return tl::make_unexpected(title.error());
    if (!*title || !is_title(**title)) {
        return invalid("title", "must be 1 to " + std::to_string(kTitleMax) +
                                    " characters without control characters");
    }
    return std::move(**title);
}

bool is_currency(std::string_view text) {
    return text.size() == 3 &&
           std::ranges::all_of(text, [](char c) { return c >= 'A' && c <= 'Z'; });
}

Parsed<void> read_price(const JsonFields& fields, SaleTerms& terms) {
    const auto price = fields.integer("price", 0, kPriceMax);
    if (!price) return tl::make_unexpected(price.error());
    const auto currency = fields.text("currency");
    if (!currency) return tl::make_unexpected(currency.error());
    if (*currency && !is_currency(**currency)) {
        return invalid("currency", "must be three letters as in ISO 4217, EUR");
    }
    if (price->has_value() != currency->has_value()) {
        return invalid(*price ? "currency" : "price", "is missing: price and currency go together");
    }
    terms.price = *price;
    terms.currency = *currency;
    return {};
}

Parsed<SaleTerms> read_terms(const JsonFields& fields, TimePoint now) {
    SaleTerms terms;
    const auto id = fields.text("id");
    if (!id) return tl::make_unexpected(id.error());
    if (!*id || !is_sale_id(**id)) {
        return invalid("id", "must be 1 to 63 characters of a-z, 0-9 and -, not starting with -");
    }
    terms.id = **id;
    auto title = title_of(fields);
    if (!title) return tl::make_unexpected(title.error());
    terms.title = std::move(*title);
    const auto stock = fields.integer("stock", 0, kStockMax);
    if (!stock) return tl::make_unexpected(stock.error());
    if (!*stock) return invalid("stock", "is missing: how many units are for sale");
    terms.stock = **stock;
    const auto limit = fields.integer("per_user_limit", 1, kPerUserLimitMax);
    if (!limit) return tl::make_unexpected(limit.error());
    terms.per_user_limit = limit->value_or(1);
    const auto starts_at = time_of(fields, "starts_at");
    if (!starts_at) return tl::make_unexpected(starts_at.error());
    terms.starts_at = starts_at->value_or(now);
    const auto ends_at = time_of(fields, "ends_at");
    if (!ends_at) return tl::make_unexpected(ends_at.error());
    if (*ends_at && **ends_at <= terms.starts_at) {
        return invalid("ends_at", "must be later than starts_at");
    }
    terms.ends_at = *ends_at;
    if (auto priced = read_price(fields, terms); !priced) {
        return tl::make_unexpected(priced.error());
    }
    const auto timeout = fields.integer("payment_timeout_s", 0, kPaymentTimeoutMaxS);
    if (!timeout) return tl::make_unexpected(timeout.error());
    terms.payment_timeout = std::chrono::seconds(timeout->value_or(0));
    return terms;
}

// What was asked for, independent of the order of fields and of defaults left out.
std::string canonical_text(const JsonFields& fields, const SaleTerms& terms) {
    JsonObject text;
    text.field("id", terms.id)
        .field("title", terms.title)
        .field("stock", terms.stock)
        .field("per_user_limit", terms.per_user_limit)
        .field("ends_at", terms.ends_at)
        .field("price", terms.price)
        .field("currency", terms.currency)
        .field("payment_timeout_s", std::int64_t{terms.payment_timeout / std::chrono::seconds(1)});
    // "Now" is another time at every call: a start that was left out stays left out.
    const auto starts_at = fields.text("starts_at");
    const bool is_given = starts_at && starts_at->has_value();
    if (is_given) text.field("starts_at", terms.starts_at);
    return text.take();
}

// An absent field stays as it is; null would be a wish for no value, which only an end can have.
Parsed<SaleEdit> read_edit(const JsonFields& fields) {
    SaleEdit edit;
    if (fields.has("title")) {
        auto title = title_of(fields);
        if (!title) return tl::make_unexpected(title.error());
        edit.title = std::move(*title);
    }
    const auto limit = fields.integer("per_user_limit", 1, kPerUserLimitMax);
    if (!limit) return tl::make_unexpected(limit.error());
    edit.per_user_limit = *limit;
    const auto starts_at = time_of(fields, "starts_at");
    if (!starts_at) return tl::make_unexpected(starts_at.error());
    edit.starts_at = *starts_at;
    const auto ends_at = time_of(fields, "ends_at");
    if (!ends_at) return tl::make_unexpected(ends_at.error());
    if (fields.has("ends_at")) edit.ends_at = *ends_at;
    const auto state = fields.text("state");
    if (!state) return tl::make_unexpected(state.error());
    if (*state && **state != "open" && **state != "paused") {
        return invalid("state", "must be \"open\" or \"paused\"");
    }
    if (*state) edit.paused = **state == "paused";
    for (const auto& [name, has_value] :
         {std::pair("per_user_limit", edit.per_user_limit.has_value()),
          std::pair("starts_at", edit.starts_at.has_value()),
          std::pair("state", edit.paused.has_value())}) {
        if (fields.has(name) && !has_value) return invalid(name, "must not be null");
    }
    if (fields.size() == 0) return invalid("body", "must name what to change");
    return edit;
}

} // namespace

Task<Response> Api::create_sale(const Request& request) {
    if (auto refused = refuse_body_type(request)) co_return std::move(*refused);
    const auto fields =
        JsonFields::parse(request.body, {"id", "title", "stock", "per_user_limit", "starts_at",
                                         "ends_at", "price", "currency", "payment_timeout_s"});
    if (!fields) co_return problem(fields.error());
    const auto terms = read_terms(*fields, parts_.clock.now());
    if (!terms) co_return problem(terms.error());
    const std::string created_as = canonical_text(*fields, *terms);
    const std::string who = operator_of(request);
    const auto created = co_await parts_.sales.create(*terms, created_as, who);
    if (!created && created.error().is(Errc::conflict)) co_return problem(Code::already_exists);
    if (!created && created.error().is(Errc::invalid)) {
        const InvalidField wrong{"payment_timeout_s", created.error().context};
        co_return problem(wrong);
    }
    if (!created) co_return problem(created.error());
    Response response = show_sale(created->first.id);
    if (created->second) response.status = 201;
    response.headers += "Location: /v1/sales/" + created->first.id + "\r\n";
    co_return response;
}

Task<Response> Api::list_sales(const Request& request) {
    const auto query = parse_query(request.query, {"limit", "cursor"});
    if (!query) co_return problem(query.error());
    const auto page = page_of(*query);
    if (!page) co_return problem(page.error());
    if (!page->cursor.empty() && !is_sale_id(page->cursor)) {
        const InvalidField wrong{"cursor", "must be a next_cursor of this list"};
        co_return problem(wrong);
    }
    const auto sales = co_await parts_.sales.list(page->cursor, page->limit + 1);
    if (!sales) co_return problem(sales.error());
    const auto json_of = [this](const StoredSale& sale) {
        return sale_json(sale, parts_.directory.find(sale.terms.id), parts_.clock.now());
    };
    const auto cursor_of = [](const StoredSale& sale) { return sale.terms.id; };
    co_return list_response<StoredSale>(*sales, *page, json_of, cursor_of);
}

// The address is the one that a limit would count.
std::string Api::operator_of(const Request& request) const {
    const char* as = identity_.has_admin_token(request) ? "admin token from " : "loopback ";
    return as + parts_.proxies.client_of(request).to_string();
}

// The answer to a change: the sale as it is now, or why not.
Response Api::changed(const Result<SaleTerms>& terms, std::string_view bad_field) {
    if (terms) return show_sale(terms->id);
    return not_changed(terms.error(), bad_field);
}

Response Api::not_changed(const Error& error, std::string_view bad_field) {
    if (error.is(Errc::not_found)) {
        return problem(Code::not_found, "There is no sale with this id.");
    }
    if (error.is(Errc::wrong_state)) return problem(Code::invalid_state, error.context);
    if (error.is(Errc::conflict)) return problem(Code::idempotency_mismatch);
    if (error.is(Errc::timeout)) {
        Response response = problem(Code::unavailable, error.context);
        response.headers = refusals_.retry_after(kMayHappenRetryAfter);
        return response;
    }
    if (error.is(Errc::invalid)) {
        const InvalidField wrong{std::string(bad_field), error.context};
        return problem(wrong);
    }
    return problem(error);
}

Task<Response> Api::edit_sale(const Request& request, std::string_view id) {
    if (auto refused = refuse_body_type(request)) co_return std::move(*refused);
    const auto fields = JsonFields::parse(
        request.body, {"title", "per_user_limit", "starts_at", "ends_at", "state"});
    if (!fields) co_return problem(fields.error());
    const auto edit = read_edit(*fields);
    if (!edit) co_return problem(edit.error());
    const std::string sale(id);
    const std::string who = operator_of(request);
    const auto terms = co_await parts_.sales.edit(sale, *edit, who);
    co_return changed(terms, edit->ends_at ? "ends_at" : "starts_at");
}

Task<Response> Api::restock(const Request& request, std::string_view id) {
    if (auto refused = refuse_body_type(request)) co_return std::move(*refused);
    const auto fields = JsonFields::parse(request.body, {"add"});
    if (!fields) co_return problem(fields.error());
    const auto add = fields->integer("add", -kStockMax, kStockMax);
    if (!add) co_return problem(add.error());
    if (add->value_or(0) == 0) {
        const InvalidField wrong{"add", "must be a number of units, positive or negative, not 0"};
        co_return problem(wrong);
    }
    std::optional<std::string> key;
    if (request.has_idempotency_key) {
        if (!is_idempotency_key(request.idempotency_key)) {
            const InvalidField wrong{"Idempotency-Key", "must be 1 to 255 printable characters"};
            co_return problem(wrong);
        }
        key = request.idempotency_key;
    }
    const std::string sale(id);
    const std::string who = operator_of(request);
    const auto terms = co_await parts_.sales.change_stock(sale, **add, key, who);
    if (terms) co_return show_sale(terms->id);
    const auto* refusal = std::get_if<Refusal>(&terms.error());
    if (refusal == nullptr) co_return not_changed(std::get<Error>(terms.error()), "add");
    if (refusal->reason == PurchaseOutcome::sold_out) co_return below_sold(refusal->remaining);
    co_return refusals_.write(*refusal);
}

Task<Response> Api::close_sale(const Request& request, std::string_view id) {
    if (auto refused = refuse_body_type(request)) co_return std::move(*refused);
    const auto fields = JsonFields::parse(request.body, {});
    if (!fields) co_return problem(fields.error());
    const std::string sale(id);
    const std::string who = operator_of(request);
    const auto terms = co_await parts_.sales.close(sale, who);
    co_return changed(terms, "body");
}

Task<Response> Api::list_orders(const Request& request, std::string_view id) {
    const auto query = parse_query(request.query, {"limit", "cursor", "status", "user_id"});
    if (!query) co_return problem(query.error());
    const auto page = page_of(*query);
    if (!page) co_return problem(page.error());
    OrderFilter filter;
    if (const std::string* status = filter_of(*query, "status")) {
        filter.status = parse_order_status(*status);
        if (!filter.status) {
            const InvalidField wrong{
                "status", "must be queued, confirmed, paid, cancelled, expired or refused"};
            co_return problem(wrong);
        }
    }
    if (const std::string* user = filter_of(*query, "user_id")) filter.user = *user;
    std::optional<OrderId> after;
    if (!page->cursor.empty()) {
        after = OrderId::parse(page->cursor);
        if (!after) {
            const InvalidField wrong{"cursor", "must be a next_cursor of this list"};
            co_return problem(wrong);
        }
    }
    const SaleView* sale = parts_.directory.find(id);
    if (sale == nullptr) co_return problem(Code::not_found, "There is no sale with this id.");
    const auto orders = co_await parts_.orders.list(*sale->terms, filter, after, page->limit);
    if (!orders) co_return problem(orders.error());
    std::optional<std::string> next_cursor;
    if (orders->next) next_cursor = orders->next->text();
    const auto json_of = [sale](const Order& order) { return order_json(order, sale->terms->id); };
    co_return list_response<Order>(orders->orders, orders->orders.size(), json_of, next_cursor);
}

Task<Response> Api::show_journal(const Request& request, std::string_view id) {
    const auto query = parse_query(request.query, {"limit", "cursor"});
    if (!query) co_return problem(query.error());
    const auto page = page_of(*query);
    if (!page) co_return problem(page.error());
    std::int64_t after = 0;
    if (!page->cursor.empty()) {
        const auto seq = whole_number(page->cursor);
        if (!seq || *seq < 1) {
            const InvalidField wrong{"cursor", "must be a next_cursor of this list"};
            co_return problem(wrong);
        }
        after = *seq;
    }
    const SaleView* sale = parts_.directory.find(id);
    if (sale == nullptr) co_return problem(Code::not_found, "There is no sale with this id.");
    const auto entries = co_await parts_.sales.journal(sale->terms->no, after, page->limit + 1);
    if (!entries) co_return problem(entries.error());
    const auto json_of = [](const JournalEntry& entry) { return journal_json(entry); };
    const auto cursor_of = [](const JournalEntry& entry) { return std::to_string(entry.seq); };
    co_return list_response<JournalEntry>(*entries, *page, json_of, cursor_of);
}

Task<Response> Api::audit(std::string_view id) {
    const std::optional<std::string> sale{std::string(id)};
    const auto rows = co_await parts_.auditor.run(sale);
    if (!rows && rows.error().is(Errc::not_found)) {
        co_return problem(Code::not_found, "There is no sale with this id.");
    }
    if (!rows) co_return problem(rows.error());
    co_return json_response(200, audit_json(rows->front()));
}

} // namespace doorbuster::http
