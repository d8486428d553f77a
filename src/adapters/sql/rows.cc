#include "adapters/sql/rows.h"

#include <algorithm>

namespace doorbuster::sql {
namespace {

// Of one statement. The largest packet that MariaDB takes by default is 16 MB, and a text of the
// log may be 64 kB long.
constexpr std::size_t kRowsMax = 5'000;
constexpr std::size_t kBytesMax = std::size_t{4} << 20U;

// https://www.postgresql.org/docs/15/arrays.html#ARRAYS-IO: in quotes, a backslash keeps the next.
void append_quoted(std::string& out, const std::string& text) {
    if (text.find('\0') != std::string::npos) {
        throw StoreFailure(Errc::conflict, "a text holds a NUL byte");
    }
    out += '"';
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    out += '"';
}

// RFC 8259. What is no UTF-8 goes as it is: the server says so.
void append_json(std::string& out, const std::string& text) {
    constexpr std::string_view kHex = "0123456789abcdef";
    out += '"';
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte < 0x20) {
            out += "\\u00";
            out += kHex[byte >> 4U];
            out += kHex[byte & 15U];
        } else {
            out += c;
        }
    }
    out += '"';
}

} // namespace

Rows& Rows::add(const char* name, const Texts& texts, const Indicators* indicators) {
    columns_.push_back({name, &texts, nullptr, indicators});
    return *this;
}

Rows& Rows::add(const char* name, const Numbers& numbers, const Indicators* indicators) {
    columns_.push_back({name, nullptr, &numbers, indicators});
    return *this;
}

void Rows::Encoded::bind(soci::statement& statement) const {
    for (const auto& [name, text] : parameters) statement.exchange(soci::use(text, name));
}

Rows::Encoded Rows::encode(Dialect dialect, std::size_t from) const {
    return dialect == Dialect::postgresql ? encode_arrays(from) : encode_json(from);
}

Rows::Encoded Rows::encode_arrays(std::size_t from) const {
    Encoded encoded;
    for (const Column& column : columns_) encoded.parameters.emplace_back(column.name, "{");
    std::size_t bytes = 0;
    for (std::size_t row = from; row < size_ && encoded.rows < kRowsMax && bytes < kBytesMax;
         ++row) {
        for (std::size_t i = 0; i < columns_.size(); ++i) {
            const Column& column = columns_[i];
            std::string& out = encoded.parameters[i].second;
            const std::size_t before = out.size();
            if (row > from) out += ',';
            if (column.is_null(row)) out += "NULL";
            else if (column.texts != nullptr) append_quoted(out, (*column.texts)[row]);
            else out += std::to_string((*column.numbers)[row]);
            bytes += out.size() - before;
        }
        ++encoded.rows;
    }
    for (auto& [name, text] : encoded.parameters) text += '}';
    return encoded;
}

Rows::Encoded Rows::encode_json(std::size_t from) const {
    Encoded encoded;
    std::string out = "[";
    for (std::size_t row = from; row < size_ && encoded.rows < kRowsMax && out.size() < kBytesMax;
         ++row) {
        out += row > from ? ",{" : "{";
        bool is_first = true;
        for (const Column& column : columns_) {
            if (column.is_null(row)) continue; // a member that is not there is NULL
            if (!is_first) out += ',';
            is_first = false;
            out += '"';
            out += column.name;
            out += "\":";
            if (column.texts != nullptr) append_json(out, (*column.texts)[row]);
            else out += std::to_string((*column.numbers)[row]);
        }
        out += '}';
        ++encoded.rows;
    }
    out += ']';
    encoded.parameters.emplace_back("many_rows", std::move(out));
    return encoded;
}

Integer Rows::run(Session& session, const Query& query) const {
    if (size_ == 0) return 0;
    if (!session.is_shared()) {
        soci::statement statement(session.soci());
        for (const Column& column : columns_) {
            // SOCI reads all of them, and takes none as const together with indicators.
            auto* texts = const_cast<Texts*>(column.texts);                // NOLINT
            auto* numbers = const_cast<Numbers*>(column.numbers);          // NOLINT
            auto* indicators = const_cast<Indicators*>(column.indicators); // NOLINT
            if (texts != nullptr && indicators == nullptr) {
                statement.exchange(soci::use(*texts, column.name));
            } else if (texts != nullptr) {
                statement.exchange(soci::use(*texts, *indicators, column.name));
            } else if (indicators == nullptr) {
                statement.exchange(soci::use(*numbers, column.name));
            } else {
                statement.exchange(soci::use(*numbers, *indicators, column.name));
            }
        }
        session.execute_bound(statement, session.text(query));
        session.sent(size_ - 1); // once for every row
        return statement.get_affected_rows();
    }
    Integer written = 0;
    for (std::size_t at = 0; at < size_;) {
        const Encoded encoded = encode(session.dialect(), at);
        soci::statement statement(session.soci());
        encoded.bind(statement);
        session.execute_bound(statement, session.text(query));
        written += statement.get_affected_rows();
        at += encoded.rows;
    }
    return written;
}

} // namespace doorbuster::sql
