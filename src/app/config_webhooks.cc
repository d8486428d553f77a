#include "app/config_webhooks.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <string_view>

#include "adapters/webhook/endpoint_url.h"
#include "adapters/webhook/signature.h"
#include "app/config_value.h"

namespace doorbuster {
namespace {

// Each endpoint costs a place in every look at the outbox and a row of its own.
constexpr std::size_t kEndpointsMax = 16;

constexpr std::array<std::string_view, 5> kEvents = {
    "order.confirmed", "order.refused", "order.paid", "order.cancelled", "order.expired"};

} // namespace

std::vector<std::string> webhook_problems(const WebhooksConfig& config) {
    std::vector<std::string> out;
    const auto& endpoints = config.endpoints;
    if (endpoints.size() > kEndpointsMax) {
        out.push_back(fmt::format("webhooks.endpoints: {} endpoints, at most {}", endpoints.size(),
                                  kEndpointsMax));
        return out;
    }
    for (std::size_t i = 0; i < endpoints.size(); ++i) {
        const WebhookEndpoint& endpoint = endpoints[i];
        const auto add = [&](std::string_view part, std::string_view what) {
            out.push_back(fmt::format("webhooks.endpoints[{}].{}: {}", i, part, what));
        };
        if (endpoint.url.empty()) {
            add("url", "is missing");
        } else if (const auto url = webhook::parse_endpoint_url(endpoint.url); !url) {
            add("url", url.error().context);
        }
        const auto earlier =
            std::ranges::find(endpoints.begin(), endpoints.begin() + static_cast<std::ptrdiff_t>(i),
                              endpoint.url, &WebhookEndpoint::url);
        if (!endpoint.url.empty() && earlier->url == endpoint.url && &*earlier != &endpoint) {
            add("url", fmt::format("is that of webhooks.endpoints[{}]; an endpoint is known by "
                                   "its URL",
                                   earlier - endpoints.begin()));
        }
        if (const auto keys = webhook::parse_secrets(endpoint.secret); !keys) {
            add("secret", endpoint.secret.empty() ? "is missing: " + keys.error().context
                                                  : keys.error().context);
        }
        for (const std::string& event : endpoint.events) {
            if (std::ranges::find(kEvents, event) != kEvents.end()) continue;
            add("events",
                fmt::format("\"{}\" is not one of {}", shortened(event), fmt::join(kEvents, ", ")));
        }
    }
    return out;
}

} // namespace doorbuster
