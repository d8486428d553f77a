// The server's certificate and key. Loaded once, then shared by all cores (OpenSSL counts its
// references itself).
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <string>

#include "base/result.h"

namespace doorbuster::http {

// TLS 1.2 and 1.3, HTTP/1.1 by ALPN. Errors say which file is wrong.
Result<boost::asio::ssl::context> load_tls(const std::string& cert, const std::string& key);

} // namespace doorbuster::http
