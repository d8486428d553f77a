// The bodies of Asio and Beast, compiled once (BOOST_ASIO_SEPARATE_COMPILATION): a source that
// includes their headers compiles in a fraction of the time.
#include <boost/asio/impl/src.hpp>
#include <boost/asio/ssl/impl/src.hpp>
#include <boost/beast/src.hpp>
