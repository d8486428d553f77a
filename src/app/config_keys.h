// Every setting as one row of a table: what drives reading the file and the environment, the
// checks, `config show` and the documentation. Constant data; any thread may read it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "app/config.h"

namespace doorbuster {

// A setting's value of any type; a choice is its place in the row's list.
using ConfigValue = std::variant<std::string, std::int64_t, double, bool, std::vector<std::string>,
                                 std::map<std::string, std::string>, std::vector<WebhookEndpoint>>;

enum class KeyType : std::uint8_t {
    text,
    whole,
    number,
    flag,
    choice,
    list,
    properties,
    endpoints
};

// What `config show` and messages leave out of a value.
enum class Secrecy : std::uint8_t {
    open,
    whole,           // all of it
    password_in_url, // the password between "user:" and "@"
    inline_keys,     // every item that is not the name of a file
    parts,           // what its name calls a password, secret, token or key
};

// What the text of a value, or of each item of a list, must look like.
struct TextForm {
    bool (*fits)(std::string_view text) = nullptr;
    std::string_view words; // "an address HOST:PORT"
};

struct KeyRules {
    double minimum = 0;
    double maximum = 0;
    std::span<const std::string_view> choices = {};
    TextForm form = {};
    Secrecy secrecy = Secrecy::open;
};

struct ConfigKey {
    std::string_view section;
    std::string_view name;
    KeyType type;
    KeyRules rules;
    std::string_view help;
    ConfigValue (*get)(const Config& config);
    void (*set)(Config& config, const ConfigValue& value); // of the type that get returns
};

[[nodiscard]] std::span<const ConfigKey> config_keys();

[[nodiscard]] std::string full_name(const ConfigKey& key);        // "server.listen"
[[nodiscard]] std::string environment_name(const ConfigKey& key); // "DOORBUSTER_SERVER_LISTEN"
[[nodiscard]] const ConfigKey* find_config_key(std::string_view full_name);
[[nodiscard]] const ConfigKey* find_config_variable(std::string_view environment_name);
[[nodiscard]] std::string nearest_config_key(std::string_view unknown); // by edit distance

// "a whole number from 0 to 1024"
[[nodiscard]] std::string allowed_words(const ConfigKey& key);
// nullopt when the value keeps the row's rules, else the part of it that breaks them.
[[nodiscard]] std::optional<std::string> broken_part(const ConfigKey& key,
                                                     const ConfigValue& value);

// The fewest insertions, deletions, changes and swaps of neighbours between two texts (optimal
// string alignment).
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

} // namespace doorbuster
