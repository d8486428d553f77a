#include "app/openapi.h"

namespace doorbuster {

const char* version() { return DOORBUSTER_VERSION; }

} // namespace doorbuster
