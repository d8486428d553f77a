// The SQL databases that an order store can be in, and a statement's text in each. Values.
#pragma once

#include <cstdint>

namespace doorbuster::sql {

enum class Dialect : std::uint8_t { sqlite, postgresql, mysql }; // mysql: MariaDB, too

// A statement of queries.sql; empty where a dialect has no use for it.
struct Query {
    const char* sqlite;
    const char* postgresql;
    const char* mysql;

    [[nodiscard]] constexpr const char* of(Dialect dialect) const {
        switch (dialect) {
        case Dialect::sqlite: return sqlite;
        case Dialect::postgresql: return postgresql;
        case Dialect::mysql: return mysql;
        }
        return sqlite;
    }
};

} // namespace doorbuster::sql
