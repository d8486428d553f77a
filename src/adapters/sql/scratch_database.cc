#include "adapters/sql/scratch_database.h"

#include <algorithm>

#include "adapters/sql/failure.h"
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
    std::unique_ptr<ScratchDatabase> made(
        new ScratchDatabase(std::move(*parsed), name, std::move(url)));
    if (auto checked = made->check(); !checked) {
        return tl::make_unexpected(std::move(checked.error())); // and it is dropped
    }
    return made;
}

Result<void> ScratchDatabase::check() const {
    const auto scratch = parse_store_url(url_);
    if (!scratch) return tl::make_unexpected(scratch.error());
    const bool is_schema = server_.dialect == Dialect::postgresql;
    std::string where;
    auto asked = guarded(*scratch, "looking into the scratch store", [&]() -> Result<void> {
        Session session(*scratch, SessionOptions());
        session.open();
        const std::string query =
            is_schema ? "SELECT coalesce(current_schema(), '')" : "SELECT coalesce(database(), '')";
        session.each(
            query, [] {}, soci::into(where));
        return {};
    });
    if (!asked) return asked;
    if (where == name_) return {};
    return fail(Errc::invalid, server_.name + ": a session that asks for " +
                                   (is_schema ? "schema " : "database ") + name_ + " is in '" +
                                   where +
                                   "' (is there a pooler in between?); give the "
                                   "database server's own address");
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
