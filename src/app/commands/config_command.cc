#include "app/commands/config_command.h"

#include <CLI/CLI.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <memory>
#include <ostream>
#include <sstream>

#include "adapters/jwt/jwt.h"
#include "app/config_print.h"

namespace doorbuster {
namespace {

namespace json = boost::json;

struct ConfigFlags {
    std::string file;
    bool as_json = false;
};

ConfigReading read_settings(const CommandContext& context, const ConfigFlags& flags) {
    ConfigSources sources;
    if (!flags.file.empty()) sources.file = flags.file;
    sources.environment = context.environment;
    return read_config(sources);
}

// All that would keep `serve` from starting, as far as the settings alone can tell.
std::vector<std::string> problems(const ConfigReading& reading) {
    std::vector<std::string> out = reading.errors;
    const IdentityConfig& identity = reading.config.identity;
    if (identity.mode == IdentityConfig::Mode::jwt && !identity.jwt_keys.empty()) {
        jwt::Options options;
        options.keys = identity.jwt_keys;
        if (const auto verifier = jwt::Verifier::create(options); !verifier) {
            out.push_back("identity.jwt_keys: " + verifier.error().context);
        }
    }
    return out;
}

void run_check(CommandContext& context, const ConfigFlags& flags) {
    const std::vector<std::string> errors = problems(read_settings(context, flags));
    if (!errors.empty()) context.exit_code = kExitUsage;
    if (flags.as_json) {
        json::array list;
        for (const std::string& error : errors) list.emplace_back(error);
        const json::object answer{{"ok", errors.empty()}, {"errors", std::move(list)}};
        context.out << json::serialize(answer) << '\n';
        return;
    }
    if (errors.empty()) context.out << "ok\n";
    for (const std::string& error : errors) context.failed(kExitUsage, error);
}

void run_show(CommandContext& context, const ConfigFlags& flags) {
    const ConfigReading reading = read_settings(context, flags);
    for (const std::string& error : reading.errors) context.failed(kExitUsage, error);
    if (!reading.errors.empty()) return;
    if (flags.as_json) {
        context.out << config_as_json(reading) << '\n';
    } else {
        context.out << config_as_toml(reading);
    }
}

void add(CLI::App& parent, const char* name, const char* help, CommandContext& context,
         void (*run)(CommandContext&, const ConfigFlags&)) {
    CLI::App* command = parent.add_subcommand(name, help);
    command->footer(std::string("Example:\n  doorbuster config ") + name + " --config shop.toml");
    // Shared, because CLI11 holds pointers into it and the callback reads it.
    const auto flags = std::make_shared<ConfigFlags>();
    command->add_option("--config", flags->file, "The file of settings")->type_name("FILE");
    command->add_flag("--json", flags->as_json, "Print one JSON document");
    command->callback([&context, flags, run] { run(context, *flags); });
}

} // namespace

void add_config_command(CLI::App& app, CommandContext& context) {
    CLI::App* config = app.add_subcommand("config", "Validate and print the settings");
    config->require_subcommand(1);
    config->footer("Examples:\n"
                   "  doorbuster config check --config shop.toml\n"
                   "  doorbuster config show");
    add(*config, "check", "Are the settings right? Exit status 2 if not", context, run_check);
    add(*config, "show", "What is in force and where it comes from, secrets masked", context,
        run_show);
}

} // namespace doorbuster
