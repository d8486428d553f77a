// Where `audit` and `export` read the books: from a running server (--url), or from the store and
// log themselves (--config, --data). Used by one command's thread while it parses and runs.
#pragma once

#include <string>

#include "app/commands/command_context.h"
#include "app/commands/server_client.h"

namespace doorbuster {

struct BooksSource {
    ServerOptions server;
    std::string config_file;
    std::string data;

    [[nodiscard]] bool is_offline() const { return !config_file.empty() || !data.empty(); }
    // The settings of the offline side; Errc::invalid as load_config.
    [[nodiscard]] Result<Config> load(const Environment& environment) const;
};

// Adds --url, --admin-token, --config and --data; `source` outlives the parsing.
void add_books_options(CLI::App& command, BooksSource& source);

} // namespace doorbuster
