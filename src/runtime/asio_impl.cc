// The bodies of Asio, compiled once (BOOST_ASIO_SEPARATE_COMPILATION): a source that includes its
// headers compiles in a fraction of the time.
#include <boost/asio/impl/src.hpp>
#include <boost/asio/ssl/impl/src.hpp>
