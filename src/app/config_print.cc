#include "app/config_print.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstddef>
#include <fmt/format.h>
#include <string_view>
#include <variant>

#include "app/config_keys.h"

namespace doorbuster {
namespace {

namespace json = boost::json;

constexpr std::string_view kMask = "********";

std::string mask_if_set(const std::string& text) {
    return text.empty() ? std::string() : std::string(kMask);
}

// "scheme://user:password@host" without the password, and without "?password=…".
std::string mask_url(const std::string& url) {
    std::string out = url;
    const std::size_t scheme = out.find("://");
    const std::size_t query = out.find('?');
    if (query != std::string::npos && out.find("pass", query) != std::string::npos) {
        out = out.substr(0, query + 1) + std::string(kMask);
    }
    if (scheme == std::string::npos) return out;
    const std::size_t begin = scheme + 3;
    const std::size_t at = out.rfind('@', out.find_first_of("?#", begin));
    const std::size_t colon = out.find(':', begin);
    if (at == std::string::npos || at < begin || colon >= at) return out;
    return out.replace(colon + 1, at - colon - 1, kMask);
}

bool sounds_secret(std::string_view name) {
    constexpr std::array<std::string_view, 6> kWords = {"password", "secret", "token",
                                                        "pem",      "jaas",   "oauthbearer.config"};
    return std::ranges::any_of(
        kWords, [&](std::string_view word) { return name.find(word) != std::string_view::npos; });
}

ConfigValue masked(const ConfigKey& key, ConfigValue value) {
    switch (key.rules.secrecy) {
    case Secrecy::open: break;
    case Secrecy::whole: return mask_if_set(std::get<std::string>(value));
    case Secrecy::password_in_url: return mask_url(std::get<std::string>(value));
    case Secrecy::inline_keys:
        for (std::string& item : std::get<std::vector<std::string>>(value)) {
            if (!item.starts_with("file:")) item = kMask;
        }
        break;
    case Secrecy::parts:
        if (auto* table = std::get_if<std::map<std::string, std::string>>(&value)) {
            for (auto& [name, text] : *table) {
                if (sounds_secret(name)) text = kMask;
            }
        } else if (auto* endpoints = std::get_if<std::vector<WebhookEndpoint>>(&value)) {
            for (WebhookEndpoint& endpoint : *endpoints) {
                endpoint.url = mask_url(endpoint.url);
                endpoint.secret = mask_if_set(endpoint.secret);
            }
        }
        break;
    }
    return value;
}

// A TOML basic string (toml.io/en/v1.0.0#string).
std::string toml_string(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (c == '\n') {
            out += "\\n";
        } else if (byte < 0x20 || byte == 0x7f) {
            out += fmt::format("\\u{:04X}", byte);
        } else {
            out += c;
        }
    }
    return out + '"';
}

std::string quoted_list(const std::vector<std::string>& items) {
    std::string out = "[";
    for (const std::string& item : items) {
        if (out.size() > 1) out += ", ";
        out += toml_string(item);
    }
    return out + ']';
}

struct TomlText {
    const ConfigKey& key;

    std::string operator()(const std::string& text) const { return toml_string(text); }
    std::string operator()(std::int64_t number) const {
        if (key.type != KeyType::choice) return fmt::format("{}", number);
        return toml_string(key.rules.choices[static_cast<std::size_t>(number)]);
    }
    std::string operator()(double number) const { return fmt::format("{}", number); }
    std::string operator()(bool flag) const { return flag ? "true" : "false"; }
    std::string operator()(const std::vector<std::string>& items) const {
        return quoted_list(items);
    }
    std::string operator()(const std::map<std::string, std::string>& table) const {
        std::string out = "{";
        for (const auto& [name, text] : table) {
            out += fmt::format("{} {} = {}", out.size() > 1 ? "," : "", toml_string(name),
                               toml_string(text));
        }
        return out + (table.empty() ? "}" : " }");
    }
    std::string operator()(const std::vector<WebhookEndpoint>& endpoints) const {
        std::string out = "[";
        for (const WebhookEndpoint& endpoint : endpoints) {
            if (out.size() > 1) out += ", ";
            out +=
                fmt::format("{{ url = {}, secret = {}, events = {} }}", toml_string(endpoint.url),
                            toml_string(endpoint.secret), quoted_list(endpoint.events));
        }
        return out + ']';
    }
};

json::array json_list(const std::vector<std::string>& items) {
    json::array out;
    for (const std::string& item : items) out.emplace_back(item);
    return out;
}

struct JsonValue {
    const ConfigKey& key;

    json::value operator()(const std::string& text) const { return json::value(text); }
    json::value operator()(std::int64_t number) const {
        if (key.type != KeyType::choice) return number;
        return json::value(key.rules.choices[static_cast<std::size_t>(number)]);
    }
    json::value operator()(double number) const {
        // "10", not "1E1", where it is whole.
        const auto whole = static_cast<std::int64_t>(number);
        if (static_cast<double>(whole) == number) return whole;
        return number;
    }
    json::value operator()(bool flag) const { return flag; }
    json::value operator()(const std::vector<std::string>& items) const { return json_list(items); }
    json::value operator()(const std::map<std::string, std::string>& table) const {
        json::object out;
        for (const auto& [name, text] : table) out.emplace(name, text);
        return out;
    }
    json::value operator()(const std::vector<WebhookEndpoint>& endpoints) const {
        json::array out;
        for (const WebhookEndpoint& endpoint : endpoints) {
            out.push_back(json::object{{"url", endpoint.url},
                                       {"secret", endpoint.secret},
                                       {"events", json_list(endpoint.events)}});
        }
        return out;
    }
};

} // namespace

std::string config_as_toml(const ConfigReading& reading) {
    constexpr std::size_t kCommentColumn = 36;
    std::string out;
    std::string_view section;
    for (std::size_t i = 0; const ConfigKey& key : config_keys()) {
        if (key.section != section) {
            out += fmt::format("{}[{}]\n", section.empty() ? "" : "\n", key.section);
            section = key.section;
        }
        const ConfigValue value = masked(key, key.get(reading.config));
        const std::string setting =
            fmt::format("{} = {}", key.name, std::visit(TomlText{key}, value));
        out += fmt::format("{:<{}} # {}\n", setting, kCommentColumn, reading.origins[i++]);
    }
    return out;
}

std::string config_as_json(const ConfigReading& reading) {
    json::object out;
    for (std::size_t i = 0; const ConfigKey& key : config_keys()) {
        if (!out.contains(key.section)) out.emplace(key.section, json::object());
        const ConfigValue value = masked(key, key.get(reading.config));
        out[key.section].as_object().emplace(
            key.name, json::object{{"value", std::visit(JsonValue{key}, value)},
                                   {"source", reading.origins[i++]}});
    }
    return json::serialize(out);
}

} // namespace doorbuster
