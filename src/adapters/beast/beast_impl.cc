// The bodies of Beast, compiled once (BOOST_BEAST_SEPARATE_COMPILATION), as runtime/asio_impl.cc
// does for Asio.
#include <boost/beast/src.hpp>
