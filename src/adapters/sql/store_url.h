// Where an order store is, as the settings say it:
//
//   sqlite:PATH                                     or a path alone
//   postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full&...   (also postgres://)
//   mysql://USER:PASSWORD@HOST:PORT/DATABASE?ssl_ca=FILE                    (also mariadb://)
//
// Every part may be percent-encoded. ?host=/FOLDER (PostgreSQL) and ?unix_socket=/FILE (MySQL) name
// a socket of this machine. Of PostgreSQL's connection parameters any but the password may stand
// behind the question mark (https://www.postgresql.org/docs/15/libpq-connect.html); of MySQL's:
// unix_socket, ssl_ca, ssl_cert, ssl_key. A value.
#pragma once

#include <string>
#include <string_view>

#include "adapters/sql/dialect.h"
#include "base/result.h"

namespace doorbuster::sql {

struct StoreUrl {
    Dialect dialect = Dialect::sqlite;
    std::string name;     // for people: without the password, without what stands behind the '?'
    std::string path;     // sqlite
    std::string connect;  // the others: what their driver takes, with the password
    std::string password; // so that no message shows it
};

// Errc::invalid, with a message that does not hold the password.
[[nodiscard]] Result<StoreUrl> parse_store_url(std::string_view text);

} // namespace doorbuster::sql
