#include "app/webhooks.h"

#include <algorithm>
#include <string>

#include "adapters/webhook/endpoint_url.h"
#include "app/openapi.h"

namespace doorbuster {
namespace {

constexpr Duration kStopWait{500}; // a part of the ten seconds that a stop may take

Duration ms(double seconds) { return Duration(static_cast<std::int64_t>(seconds * 1e3)); }

// For metrics: the host, and a number where several endpoints share one.
std::string label_of(const std::vector<WebhookDispatcher::Endpoint>& earlier,
                     const std::string& url) {
    const auto parsed = webhook::parse_endpoint_url(url);
    const std::string host = parsed ? parsed->authority : url;
    std::string label = host;
    const auto is_taken = [&](const WebhookDispatcher::Endpoint& one) {
        return one.label == label;
    };
    for (int i = 2; std::ranges::any_of(earlier, is_taken); ++i) {
        label = host + " " + std::to_string(i);
    }
    return label;
}

WebhookDispatcher::Options options_of(const WebhooksConfig& config, std::uint64_t seed) {
    WebhookDispatcher::Options options;
    for (const WebhookEndpoint& configured : config.endpoints) {
        WebhookDispatcher::Endpoint endpoint;
        endpoint.url = configured.url;
        endpoint.label = label_of(options.endpoints, configured.url);
        for (std::uint8_t i = 1; i < kOrderStatuses; ++i) {
            const std::string event =
                std::string("order.") + to_string(static_cast<OrderStatus>(i));
            const auto& events = configured.events;
            endpoint.wanted[i] = events.empty() || std::ranges::find(events, event) != events.end();
        }
        options.endpoints.push_back(std::move(endpoint));
    }
    options.disable_after = ms(config.disable_after_s);
    options.keep = ms(config.keep_s);
    options.stop_wait = kStopWait;
    options.seed = seed;
    return options;
}

} // namespace

Result<Webhooks> open_webhooks(const WebhooksConfig& config, sql::SqlOrderStore& store,
                               const Clock& clock, BlockingPool& blocking, std::uint64_t seed) {
    Webhooks webhooks;
    auto outbox = sql::SqlEventOutbox::open(store);
    if (!outbox) return tl::make_unexpected(std::move(outbox.error()));
    webhooks.outbox = std::move(*outbox);

    webhook::SenderOptions sending;
    for (const WebhookEndpoint& endpoint : config.endpoints) {
        sending.endpoints.push_back({endpoint.url, endpoint.secret});
    }
    sending.private_networks = config.allow_private ? webhook::PrivateNetworks::allowed
                                                    : webhook::PrivateNetworks::refused;
    sending.timeout = ms(config.timeout_s);
    sending.user_agent = std::string("doorbuster/") + version();
    auto sender = webhook::HttpEventSender::open(clock, sending);
    if (!sender) return tl::make_unexpected(std::move(sender.error()));
    webhooks.sender = std::move(*sender);

    webhooks.dispatcher = std::make_unique<WebhookDispatcher>(*webhooks.outbox, *webhooks.sender,
                                                              clock, options_of(config, seed));
    if (auto prepared = webhooks.dispatcher->prepare(); !prepared) {
        return tl::make_unexpected(std::move(prepared.error()));
    }
    webhooks.service = std::make_unique<WebhookService>(*webhooks.dispatcher, blocking);
    return webhooks;
}

} // namespace doorbuster
