// The routes' code: each parses, calls the engine, and writes what came of it. One Api per core.
// api.cc dispatches; buyer_api.cc has the purchase, order_api.cc what comes after it, admin_api.cc
// the operators' calls, webhook_api.cc those about webhooks.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "adapters/http/handler.h"
#include "adapters/http/identity.h"
#include "adapters/http/json_in.h"
#include "adapters/http/problem.h"
#include "adapters/http/routes.h"
#include "base/fingerprint.h"
#include "engine/audit.h"
#include "engine/order_feed.h"
#include "engine/order_service.h"
#include "engine/purchase_service.h"
#include "engine/readiness.h"
#include "engine/sale_directory.h"
#include "engine/sale_keeper.h"
#include "engine/sale_service.h"
#include "engine/webhook_service.h"
#include "runtime/async_lock.h"
#include "runtime/clock.h"

namespace doorbuster::http {

class Api final : public Handler {
public:
    struct Parts { // all outlive the Api
        const Clock& clock;
        const Fingerprinter& fingerprints;
        SaleDirectory& directory;   // this core's
        PurchaseService& purchases; // this core's
        SaleService& sales;
        OrderService& orders;
        OrderFeed& feed;
        Auditor& auditor;
        Readiness& readiness;
        std::function<Task<std::string>()> metrics; // the text of /metrics
        const TrustedProxies& proxies;
        WebhookService* webhooks = nullptr; // null: no endpoint is configured
        SaleKeeper* keeper = nullptr;       // null: no other process creates sales
    };
    struct Options {
        std::uint16_t rate_limited_status = 429;
        std::string_view openapi; // the document; outlives the Api
    };
    Api(Parts parts, Identity identity, Options options);

    std::optional<Response> answer_now(const Request& request) override;
    Task<Response> answer(const Request& request) override;
    Response protocol_error(const ParseFailure& failure) override;

private:
    // A purchase as it was sent, checked, before anybody decides on it.
    struct Attempt {
        SaleView* sale = nullptr;
        PurchaseRequest request; // its texts are the HTTP request's or `user`'s
    };
    using Answer = Task<Response>;

    // buyer_api.cc
    [[nodiscard]] Parsed<Units> quantity_of(std::string_view body);
    [[nodiscard]] tl::expected<Attempt, Response> parse_purchase(const Request& request,
                                                                 std::string_view sale_id);
    [[nodiscard]] std::optional<Response> purchase_now(const Request& request,
                                                       std::string_view sale_id);
    Answer purchase(const Request& request, std::string_view sale_id);
    [[nodiscard]] Response accepted(const Reservation& reservation, const SaleView& sale,
                                    std::string_view user) const;
    [[nodiscard]] Response show_sale(std::string_view id);
    [[nodiscard]] RateSubject subject_of(const Request& request, const Fingerprint& user) const;

    // order_api.cc
    // Who asks for an order, unless a limit stops them.
    struct OrderReader {
        bool is_admin = false;
        std::string user;
    };
    Task<tl::expected<OrderReader, Response>> order_reader(const Request& request);
    struct VisibleOrder {
        Order order;
        std::string sale_id;
    };
    // 404 for somebody else's.
    Task<tl::expected<VisibleOrder, Response>> visible_order(const OrderReader& reader,
                                                             std::string_view id);
    // Null: it cannot be read now.
    Task<const SaleView*> sale_of(OrderId order);
    Answer show_order(const Request& request, std::string_view id);
    Answer cancel_order(const Request& request, std::string_view id);
    Answer pay_order(const Request& request, std::string_view id);
    // `refusal`: what it is when the order's status does not allow the change.
    Answer change_order(OrderChange change, Code refusal);

    // order_events.cc
    Answer order_events(const Request& request, std::string_view id);

    // admin_api.cc
    Answer create_sale(const Request& request);
    Answer list_sales(const Request& request);
    Answer edit_sale(const Request& request, std::string_view id);
    Answer restock(const Request& request, std::string_view id);
    Answer close_sale(const Request& request, std::string_view id);
    Answer list_orders(const Request& request, std::string_view id);
    Answer show_journal(const Request& request, std::string_view id);
    Answer audit(std::string_view id);
    [[nodiscard]] Response changed(const Result<SaleTerms>& terms, std::string_view bad_field);
    [[nodiscard]] Response not_changed(const Error& error, std::string_view bad_field);
    [[nodiscard]] std::string operator_of(const Request& request) const; // for the journal

    // webhook_api.cc
    Answer list_webhooks(const Request& request);
    Answer list_webhook_events(const Request& request);
    Answer replay_webhook(const Request& request);

    // api.cc
    // Is this about a sale that another node may have created a moment ago?
    [[nodiscard]] bool may_be_elsewhere(const RouteMatch& match);
    Answer readyz();
    Answer metrics_page();
    [[nodiscard]] std::optional<Response> refuse_by_address(const Request& request,
                                                            const RouteMatch& match);

    Parts parts_;
    Identity identity_;
    Options options_;
    RefusalWriter refusals_;
    // One stream of events at a time looks its order up, so that a crowd of them does not fill the
    // store's queue. Shared with the streams, which may be destroyed with the core, after the Api.
    std::shared_ptr<AsyncLock> looks_ = std::make_shared<AsyncLock>();
    std::string last_body_; // the last purchase's that was good, and what it asked for
    Units last_quantity_ = 1;
};

// A JSON body: nullopt, or the answer to a body that cannot be one (415).
[[nodiscard]] std::optional<Response> refuse_body_type(const Request& request);

// The query's parameters, decoded. An unknown or repeated one is an error.
[[nodiscard]] Parsed<std::map<std::string, std::string>>
parse_query(std::string_view query, std::initializer_list<std::string_view> known);

[[nodiscard]] Response json_response(std::uint16_t status, std::string body);

} // namespace doorbuster::http
