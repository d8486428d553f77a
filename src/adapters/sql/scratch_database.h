// Room for a store on a server that belongs to somebody: a schema (PostgreSQL) or a database
// (MySQL) of a name that nobody else has, and that goes away again. For benchmarks. Blocking; one
// thread.
#pragma once

#include <memory>
#include <string>

#include "adapters/sql/store_url.h"
#include "base/result.h"

namespace doorbuster::sql {

class ScratchDatabase {
public:
    // `server`: a store URL of PostgreSQL or MySQL whose user may create schemas or databases.
    // `name`: letters, digits and '_'. Errc::invalid for a URL that cannot be used like that, also
    // because something on the way (a pooler) does not let a session have a schema of its own: what
    // is opened with url() would then be in the user's tables.
    [[nodiscard]] static Result<std::unique_ptr<ScratchDatabase>> make(const std::string& server,
                                                                       const std::string& name);
    ~ScratchDatabase(); // drops it if drop() was not called; says nothing
    ScratchDatabase(const ScratchDatabase&) = delete;
    ScratchDatabase& operator=(const ScratchDatabase&) = delete;

    // What a store is opened with.
    [[nodiscard]] const std::string& url() const { return url_; }
    // With everything in it, whoever made it. Nobody may be connected any more.
    [[nodiscard]] Result<void> drop();

private:
    ScratchDatabase(StoreUrl server, std::string name, std::string url)
        : server_(std::move(server)), name_(std::move(name)), url_(std::move(url)) {}
    [[nodiscard]] static Result<void> run(const StoreUrl& server, const char* doing,
                                          const std::string& sql);
    [[nodiscard]] Result<void> check() const;

    StoreUrl server_;
    std::string name_;
    std::string url_;
    bool is_there_ = true;
};

} // namespace doorbuster::sql
