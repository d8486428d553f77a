#include "adapters/sql/migration.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

#include "adapters/sql/sql_text.h"
#include "adapters/sql/transaction.h"

namespace doorbuster::sql {
namespace {

constexpr Integer kSchemaVersion = 3;

// 0: there are no tables, or not all of them.
Integer version_of(Session& session) {
    Integer tables = 0;
    session.read(text::count_schema_tables, soci::into(tables));
    if (tables == 0) return 0;
    Integer version = 0;
    return session.read(text::select_schema_version, soci::into(version)) ? version : 0;
}

// Runs the sections of the schema that are newer than `version`, statement by statement.
void run_sections(Session& session, Integer version) {
    constexpr std::string_view kMark = "-- version: ";
    const std::string schema = session.text(text::schema);
    std::string statement;
    Integer section = 0;
    for (std::size_t at = 0; at < schema.size();) {
        const std::size_t end = std::min(schema.find('\n', at), schema.size());
        const std::string line = schema.substr(at, end - at);
        at = end + 1;
        if (line.starts_with(kMark)) {
            std::from_chars(line.data() + kMark.size(), line.data() + line.size(), section);
        }
        if (section <= version) continue;
        statement += line.substr(0, line.find("--")) + "\n"; // a semicolon ends a statement only
        if (statement.find(';') == std::string::npos) continue;
        session.soci() << statement;
        statement.clear();
    }
    if (version == 0) {
        session.run(text::insert_schema_version, soci::use(kSchemaVersion, "version"));
    } else {
        session.run(text::update_schema_version, soci::use(kSchemaVersion, "version"));
    }
}

// The lock is the transaction's: SQLite's write lock, PostgreSQL's advisory one.
void upgrade_in_transaction(Session& session, SharedWrites& writes) {
    Transaction transaction(session, writes, Transaction::Kind::write);
    if (session.dialect() == Dialect::postgresql) session.run(text::lock_schema);
    const Integer version = version_of(session);
    if (version < kSchemaVersion) run_sections(session, version);
    transaction.commit();
}

// MySQL commits every change of a table by itself; an upgrade that was cut short is made again.
void upgrade_by_statement(Session& session) {
    Integer is_locked = 0;
    session.read(text::lock_schema, soci::into(is_locked));
    if (is_locked == 0) {
        throw StoreFailure(Errc::unavailable, "another process has been making tables for 20 s");
    }
    const Integer version = version_of(session);
    if (version < kSchemaVersion) run_sections(session, version);
    Integer is_released = 0;
    session.read(text::unlock_schema, soci::into(is_released));
}

} // namespace

Result<void> bring_up_to_date(Session& session, SharedWrites& writes, bool is_read_only) {
    const std::string& name = session.url().name;
    Integer version = version_of(session);
    if (version == 0 && is_read_only) return fail(Errc::not_found, name + " is not an order store");
    if (version < kSchemaVersion && is_read_only) {
        return fail(Errc::wrong_state, name + " was written by an earlier doorbuster. Start this "
                                              "one on it once (doorbuster serve)");
    }
    if (version == 0 && !session.is_shared()) {
        std::string mode;
        session.soci() << "PRAGMA journal_mode=WAL", soci::into(mode);
    }
    if (version < kSchemaVersion) {
        if (session.dialect() == Dialect::mysql) upgrade_by_statement(session);
        else upgrade_in_transaction(session, writes);
        version = version_of(session);
    }
    if (version > kSchemaVersion) {
        return fail(Errc::too_new, name + " has schema version " + std::to_string(version) +
                                       ", this doorbuster knows " + std::to_string(kSchemaVersion) +
                                       ". Start the version that wrote it");
    }
    return {};
}

} // namespace doorbuster::sql
