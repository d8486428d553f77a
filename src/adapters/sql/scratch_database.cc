#include "adapters/sql/scratch_database.h"

#include <algorithm>

#include "adapters/sql/session.h"

namespace doorbuster::sql {

Result<std::unique_ptr<ScratchDatabase>> ScratchDatabase::make(const std::string& server,
                                                               const std::string& name) {
    auto parsed = parse_store_url(server);
    if (!parsed) return tl::make_unexpected(std::move(parsed.error()));
    const std::size_t query = std::min(server.find('?'), server.size());
    std::string url;
    std::string create;
    switch (parsed->dialect) {
    case Dialect::sqlite: return fail(Errc::invalid, "a SQLite store needs a folder, not a server");
    case Dialect::postgresql:
        if (server.find("options=", query) != std::string::npos) {
            return fail(Errc::invalid, parsed->name + ": leave options= out of the URL");
        }
        url = server + (query == server.size() ? "?" : "&") + "options=-csearch_path%3D" + name;
        create = "CREATE SCHEMA " + name;
        break;
    case Dialect::mysql:
        url = server.substr(0, server.rfind('/', query) + 1) + name + server.substr(query);
        create = "CREATE DATABASE " + name;
        break;
    }
    if (auto made = run(*parsed, "making a scratch store", create); !made) {
        return tl::make_unexpected(std::move(made.error()));
    }
    return std::unique_ptr<ScratchDatabase>(
        new ScratchDatabase(std::move(*parsed), name, std::move(url)));
}

ScratchDatabase::~ScratchDatabase() { static_cast<void>(drop()); }

Result<void> ScratchDatabase::drop() {
    if (!is_there_) return {};
    const bool is_schema = server_.dialect == Dialect::postgresql;
    auto dropped = run(server_, "dropping the scratch store",
                       is_schema ? "DROP SCHEMA " + name_ + " CASCADE" : "DROP DATABASE " + name_);
    is_there_ = !dropped;
    return dropped;
}

Result<void> ScratchDatabase::run(const StoreUrl& server, const char* doing,
                                  const std::string& sql) {
    return guarded(server, doing, [&]() -> Result<void> {
        Session session(server, SessionOptions());
        session.open();
        session.command(sql);
        return {};
    });
}

} // namespace doorbuster::sql
