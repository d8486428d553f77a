// What this program runs on, for the heads of result files. Any thread; reads /proc.
#pragma once

#include <string>

namespace doorbuster {

// "Intel(R) Xeon(R) …, 2 cores, 7.8 GiB, Linux 6.1.0 x86_64"; what cannot be found out is left out.
[[nodiscard]] std::string describe_machine();

} // namespace doorbuster
