#include "app/config_value.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <optional>
#include <sstream>
#include <utility>

namespace doorbuster {
namespace {

constexpr std::size_t kGivenMax = 80; // bytes of a wrong value that a message repeats

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view kSpaces = " \t\r\n";
    const std::size_t first = text.find_first_not_of(kSpaces);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

// The value as TOML text, for "…is not…" messages.
std::string given_text(const toml::node& node) {
    std::ostringstream out;
    if (const auto* string = node.as_string()) {
        return fmt::format("\"{}\"", shortened(string->get()));
    }
    node.visit([&](const auto& value) { out << value; });
    return shortened(std::move(out).str());
}

ConvertedValue convert_toml_text(const ConfigKey& key, std::string_view text);

ConvertedValue choice_of(const ConfigKey& key, std::string_view text) {
    const auto found = std::ranges::find(key.rules.choices, text);
    if (found == key.rules.choices.end()) {
        return tl::unexpected<UnfitValue>(UnfitValue{fmt::format("\"{}\"", text)});
    }
    return static_cast<std::int64_t>(found - key.rules.choices.begin());
}

// Dotted names without quotes are nested tables in TOML; librdkafka's are flat.
bool flatten(const toml::table& table, const std::string& prefix,
             std::map<std::string, std::string>& out) {
    for (const auto& [name, node] : table) {
        const std::string full = prefix + std::string(name.str());
        if (const auto* inner = node.as_table()) {
            if (!flatten(*inner, full + '.', out)) return false;
        } else if (const auto* text = node.as_string()) {
            out[full] = text->get();
        } else if (node.is_integer() || node.is_floating_point() || node.is_boolean()) {
            out[full] = given_text(node);
        } else {
            return false;
        }
    }
    return true;
}

std::vector<std::string> split_at_commas(std::string_view text) {
    std::vector<std::string> out;
    while (!text.empty()) {
        const std::size_t comma = text.find(',');
        out.emplace_back(trimmed(text.substr(0, comma)));
        text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
    }
    return out;
}

std::optional<WebhookEndpoint> endpoint_of(const toml::node& node) {
    const auto* table = node.as_table();
    if (table == nullptr) return std::nullopt;
    WebhookEndpoint endpoint;
    for (const auto& [name, value] : *table) {
        const auto* text = value.as_string();
        const auto* list = value.as_array();
        if (name == "url" && text != nullptr) {
            endpoint.url = text->get();
        } else if (name == "secret" && text != nullptr) {
            endpoint.secret = text->get();
        } else if (name == "events" && text != nullptr) {
            endpoint.events = split_at_commas(text->get());
        } else if (name == "events" && list != nullptr) {
            for (const toml::node& event : *list) {
                if (!event.is_string()) return std::nullopt;
                endpoint.events.push_back(event.as_string()->get());
            }
        } else {
            return std::nullopt;
        }
    }
    return endpoint;
}

ConvertedValue list_of(const toml::array& array) {
    std::vector<std::string> out;
    for (const toml::node& item : array) {
        if (!item.is_string()) return tl::unexpected<UnfitValue>(UnfitValue{given_text(array)});
        out.push_back(item.as_string()->get());
    }
    return out;
}

// "a, b" or a TOML array. A JWK is JSON, with commas of its own: one item.
ConvertedValue list_of_text(const ConfigKey& key, std::string_view text) {
    if (text.starts_with('{')) return std::vector{std::string(text)};
    const bool is_array = text.starts_with('[') && text.ends_with(']'); // no address "[::1]:9092"
    return is_array ? convert_toml_text(key, text) : ConvertedValue(split_at_commas(text));
}

ConvertedValue endpoints_of(const toml::array& array) {
    std::vector<WebhookEndpoint> out;
    for (const toml::node& item : array) {
        auto endpoint = endpoint_of(item);
        // Not repeated: it may hold a secret.
        if (!endpoint) return tl::unexpected<UnfitValue>(UnfitValue{"the given value"});
        out.push_back(std::move(*endpoint));
    }
    return out;
}

} // namespace

ConvertedValue convert_node(const ConfigKey& key, const toml::node& node) {
    switch (key.type) {
    case KeyType::text:
        if (const auto* text = node.as_string()) return text->get();
        break;
    case KeyType::whole:
        if (const auto* number = node.as_integer()) return number->get();
        break;
    case KeyType::number:
        if (const auto* number = node.as_floating_point()) return number->get();
        if (const auto* number = node.as_integer()) return static_cast<double>(number->get());
        break;
    case KeyType::flag:
        if (const auto* flag = node.as_boolean()) return flag->get();
        break;
    case KeyType::choice:
        if (const auto* text = node.as_string()) return choice_of(key, text->get());
        break;
    case KeyType::list:
        if (const auto* array = node.as_array()) return list_of(*array);
        if (const auto* text = node.as_string()) return list_of_text(key, trimmed(text->get()));
        break;
    case KeyType::properties:
        if (const auto* table = node.as_table()) {
            std::map<std::string, std::string> out;
            if (flatten(*table, "", out)) return out;
        }
        break;
    case KeyType::endpoints:
        if (const auto* array = node.as_array()) return endpoints_of(*array);
        break;
    }
    return tl::unexpected<UnfitValue>(UnfitValue{given_text(node)});
}

namespace {

ConvertedValue convert_toml_text(const ConfigKey& key, std::string_view text) {
    try {
        const toml::table table = toml::parse(fmt::format("value = {}", text));
        return convert_node(key, *table.get("value"));
    } catch (const toml::parse_error& error) {
        return tl::unexpected<UnfitValue>(
            UnfitValue{{}, fmt::format("cannot be read as TOML: {}", error.description())});
    }
}

} // namespace

ConvertedValue convert_text(const ConfigKey& key, std::string_view raw) {
    const std::string_view text = trimmed(raw);
    switch (key.type) {
    case KeyType::text: return std::string(raw);
    case KeyType::whole: {
        std::int64_t number = 0;
        const auto [end, error] = std::from_chars(text.begin(), text.end(), number);
        if (error == std::errc{} && end == text.end()) return number;
        break;
    }
    case KeyType::number: {
        double number = 0;
        const auto [end, error] = std::from_chars(text.begin(), text.end(), number);
        if (error == std::errc{} && end == text.end()) return number;
        break;
    }
    case KeyType::flag:
        if (text == "true" || text == "false") return text == "true";
        break;
    case KeyType::choice: return choice_of(key, text);
    case KeyType::list: return list_of_text(key, text);
    case KeyType::properties:
    case KeyType::endpoints: return convert_toml_text(key, text);
    }
    return tl::unexpected<UnfitValue>(UnfitValue{fmt::format("\"{}\"", shortened(raw))});
}

std::string shortened(std::string_view text) {
    if (text.size() <= kGivenMax) return std::string(text);
    std::size_t end = kGivenMax;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
    return std::string(text.substr(0, end)) + "…";
}

} // namespace doorbuster
