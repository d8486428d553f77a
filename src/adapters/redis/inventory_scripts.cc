#include "adapters/redis/inventory_scripts.h"

#include "adapters/redis/scripts.h"

namespace doorbuster::redis {

WholeScript::WholeScript(std::string_view body)
    : text_(std::string(text::inventory_sale).append("\n").append(body)), script_(text_) {}

InventoryScripts::InventoryScripts()
    : begin(text::inventory_begin),
      decide(text::inventory_decide),
      drop(text::inventory_drop),
      install(text::inventory_install),
      look(text::inventory_look),
      pending(text::inventory_pending),
      release(text::inventory_release),
      stage(text::inventory_stage),
      terms(text::inventory_terms) {}

} // namespace doorbuster::redis
