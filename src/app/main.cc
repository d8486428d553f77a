// doorbuster: a flash-sale engine. Reads the command line and hands it to the command.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <string>
#include <vector>

#include "app/commands/audit_command.h"
#include "app/commands/bench_command.h"
#include "app/commands/command_context.h"
#include "app/commands/config_command.h"
#include "app/commands/export_command.h"
#include "app/commands/log_command.h"
#include "app/commands/order_command.h"
#include "app/commands/sale_command.h"
#include "app/commands/serve_command.h"
#include "app/commands/webhook_command.h"
#include "app/commands/write_command.h"
#include "app/load/load_command.h"
#include "app/offline_books.h"
#include "app/openapi.h"

int main(int count, char** arguments) {
    using namespace doorbuster;
    CommandContext context{std::cout, std::cerr};
    context.environment = process_environment();
    context.out_is_terminal = isatty(STDOUT_FILENO) != 0 ? Terminal::yes : Terminal::no;
    context.err_is_terminal = isatty(STDERR_FILENO) != 0 ? Terminal::yes : Terminal::no;
    context.in = &std::cin;
    context.in_is_terminal = isatty(STDIN_FILENO) != 0 ? Terminal::yes : Terminal::no;
    context.offline_audit = audit_offline;
    context.offline_export = export_offline;

    CLI::App app{"doorbuster: a flash-sale engine. Every unit sold exactly once.", "doorbuster"};
    app.set_version_flag("--version", std::string("doorbuster ") + version());
    app.require_subcommand(1);
    add_serve_command(app, context);
    add_write_command(app, context);
    add_sale_command(app, context);
    add_order_command(app, context);
    add_webhook_command(app, context);
    add_log_command(app, context);
    add_load_command(app, context);
    add_bench_command(app, context);
    add_audit_command(app, context);
    add_export_command(app, context);
    add_config_command(app, context);
    return run_command_line(app, context,
                            std::vector<std::string>(arguments + 1, arguments + count));
}
