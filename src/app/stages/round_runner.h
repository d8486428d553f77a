// One round of one stage: a server of its own, a load, and what came of it. Blocks; the main
// thread.
#pragma once

#include <atomic>
#include <optional>
#include <string>

#include "app/commands/server_client.h"
#include "app/stages/child.h"
#include "app/stages/metrics_page.h"
#include "app/stages/scratch.h"
#include "app/stages/stages.h"
#include "app/strategies.h"
#include "base/result.h"

namespace doorbuster::stages {

class RoundRunner {
public:
    RoundRunner(const Options& options, const LoadShape& shape, const StrategyRow& strategy,
                const std::atomic<bool>& stop)
        : options_(options), shape_(shape), strategy_(strategy), stop_(stop) {}

    // Whatever happens, what was made on the engines is taken away, or is named in the error.
    [[nodiscard]] Result<Round> run(const std::string& step, const Sink& progress);

private:
    [[nodiscard]] bool is_ours() const { return strategy_.stock_step == StockStep::holds; }
    [[nodiscard]] Engines engines_of_stage() const;
    [[nodiscard]] Child::Settings settings(const Scratch& scratch) const;
    [[nodiscard]] LoadOptions load_options() const;
    Result<Round> measure(const Scratch& scratch, const std::string& step, const Sink& progress);
    Result<Round> measure_on_server(const std::string& step, const Sink& progress);
    Result<void> warm_up();
    Result<void> make_sale(const std::string& id, Units stock);
    [[nodiscard]] Result<ServerClient> client_of_server() const;
    Result<void> wait_for_writer(HttpClient& http);
    Result<void> take_orders(Round& round) const;

    const Options& options_;
    const LoadShape& shape_;
    const StrategyRow& strategy_;
    const std::atomic<bool>& stop_;
    Engines engines_ = engines_of_stage();
    std::string url_;
};

} // namespace doorbuster::stages
