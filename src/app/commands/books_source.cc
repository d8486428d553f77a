#include "app/commands/books_source.h"

#include <CLI/CLI.hpp>

namespace doorbuster {

Result<Config> BooksSource::load(const Environment& environment) const {
    ConfigSources sources;
    if (!config_file.empty()) sources.file = config_file;
    sources.environment = environment;
    if (!data.empty()) sources.overrides.push_back({"server.data", data, "--data"});
    sources.use = ConfigUse::reading;
    auto config = load_config(sources);
    if (!config) return config;
    return config;
}

void add_books_options(CLI::App& command, BooksSource& source) {
    CLI::Option* url = add_server_options(command, source.server);
    CLI::Option* config =
        command
            .add_option("--config", source.config_file,
                        "Read the store and log that this file names, without a server")
            ->type_name("FILE");
    CLI::Option* data = command
                            .add_option("--data", source.data,
                                        "Read the store and log in this folder, without a server")
                            ->type_name("DIR");
    url->excludes(config);
    url->excludes(data);
}

} // namespace doorbuster
