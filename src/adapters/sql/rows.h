// Many rows for one statement, column by column. SQLite runs the statement for each of them, with
// the columns as its parameters. PostgreSQL gets each column as an array under its name, MySQL all
// rows as a JSON array called many_rows: one statement, one round trip.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "adapters/sql/session.h"

namespace doorbuster::sql {

class Rows {
public:
    using Texts = std::vector<std::string>;
    using Numbers = std::vector<Integer>;
    using Indicators = std::vector<soci::indicator>;

    explicit Rows(std::size_t size) : size_(size) {}
    // The columns are the caller's and outlive the rows. Each has an entry for every row; without
    // indicators none is NULL.
    Rows& add(const char* name, const Texts& texts, const Indicators* indicators = nullptr);
    Rows& add(const char* name, const Numbers& numbers, const Indicators* indicators = nullptr);

    // How many rows the statement wrote. A text with a NUL byte, which PostgreSQL has no room for,
    // is Errc::conflict there.
    Integer run(Session& session, const Query& query) const;

    // Reads by a list of texts or numbers: for SQLite the query for each of them, else once for
    // all. `into` binds what a row is read into. Sorted lists are locked in their order.
    template <class Value, class OnRow, class... Into>
    static void each(Session& session, const Query& query, const char* name,
                     const std::vector<Value>& wanted, OnRow on_row, Into&&... into) {
        if (wanted.empty()) return;
        if (!session.is_shared()) {
            Value current = wanted.front();
            soci::statement statement(session.soci());
            (statement.exchange(std::forward<Into>(into)), ...);
            statement.exchange(soci::use(current, name));
            statement.alloc();
            statement.prepare(session.text(query));
            statement.define_and_bind();
            session.sent(wanted.size());
            for (const Value& one : wanted) {
                current = one;
                for (bool more = statement.execute(true); more; more = statement.fetch()) on_row();
            }
            return;
        }
        Rows rows(wanted.size());
        rows.add(name, wanted);
        for (std::size_t at = 0; at < wanted.size();) {
            soci::statement statement(session.soci());
            (statement.exchange(into), ...);
            const Encoded encoded = rows.encode(session.dialect(), at);
            encoded.bind(statement);
            at += encoded.rows;
            for (bool more = session.execute_bound(statement, session.text(query)); more;
                 more = statement.fetch()) {
                on_row();
            }
        }
    }

private:
    struct Column {
        const char* name;
        const Texts* texts = nullptr;
        const Numbers* numbers = nullptr;
        const Indicators* indicators = nullptr;

        [[nodiscard]] bool is_null(std::size_t row) const {
            return indicators != nullptr && (*indicators)[row] == soci::i_null;
        }
    };
    // Some of the rows as parameters.
    struct Encoded {
        std::vector<std::pair<std::string, std::string>> parameters; // name, text
        std::size_t rows = 0;
        void bind(soci::statement& statement) const;
    };
    // From that row on, as many as one statement takes.
    [[nodiscard]] Encoded encode(Dialect dialect, std::size_t from) const;
    [[nodiscard]] Encoded encode_arrays(std::size_t from) const;
    [[nodiscard]] Encoded encode_json(std::size_t from) const;

    std::size_t size_;
    std::vector<Column> columns_;
};

} // namespace doorbuster::sql
