// The inventory's scripts, each whole: inventory_sale.lua in front of its own text. Values that
// never change; any thread.
#pragma once

#include <string>
#include <string_view>

#include "adapters/redis/script.h"

namespace doorbuster::redis {

// A Script that owns its text.
class WholeScript {
public:
    explicit WholeScript(std::string_view body);
    WholeScript(const WholeScript&) = delete; // script_ points into it
    WholeScript& operator=(const WholeScript&) = delete;

    // NOLINTNEXTLINE(google-explicit-constructor): it is one
    operator const Script&() const { return script_; }

private:
    std::string text_;
    Script script_;
};

// What each takes and answers stands in its file.
struct InventoryScripts {
    InventoryScripts();

    WholeScript begin;
    WholeScript decide;
    WholeScript drop;
    WholeScript install;
    WholeScript look;
    WholeScript pending;
    WholeScript release;
    WholeScript stage;
    WholeScript terms;
};

} // namespace doorbuster::redis
