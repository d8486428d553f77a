// A Redis in memory that runs the inventory's real scripts, in the Lua that Redis itself has (5.1).
// It knows the commands that these scripts use, as Redis 7 documents them; a script that uses
// another one, or a command in a way that Redis would refuse, gets the error that it would get
// there, and the model counts it. Used by one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "adapters/redis/reply.h"
#include "adapters/redis/script.h"

struct lua_State;

namespace doorbuster::model {

class RedisServer;

// The interpreter with the scripts that it has compiled; shared by all servers, one at a time.
class LuaScripts {
public:
    LuaScripts();
    ~LuaScripts();
    LuaScripts(const LuaScripts&) = delete;
    LuaScripts& operator=(const LuaScripts&) = delete;

    // A number for what will be run later: the Script need not live until then.
    int load(const redis::Script& script);
    [[nodiscard]] redis::Reply run(RedisServer& server, int script,
                                   const std::vector<std::string>& keys,
                                   const std::vector<std::string>& arguments);
    void flush(); // SCRIPT FLUSH: everything is compiled anew when it is needed

private:
    friend int redis_call(lua_State* lua);
    int compile(int script);

    lua_State* lua_;
    RedisServer* server_ = nullptr; // that runs a script
    std::vector<std::string> texts_;
    std::map<std::string, int, std::less<>> by_sha1_;
    std::vector<int> compiled_; // references, or none
};

class RedisServer {
public:
    struct Value {
        std::map<std::string, std::string> fields; // of a hash
        std::map<std::string, double> scores;      // of a sorted set
        std::optional<std::int64_t> gone_at_ms;    // PEXPIRE
        [[nodiscard]] bool is_empty() const { return fields.empty() && scores.empty(); }
    };
    using Data = std::map<std::string, Value>;

    // `life` makes the server's run_id and replication id.
    RedisServer(std::uint64_t life, Data data, std::function<std::int64_t()> now_us,
                std::function<void(const std::string&)> publish)
        : data(std::move(data)),
          life_(life),
          now_us_(std::move(now_us)),
          publish_(std::move(publish)) {}

    [[nodiscard]] redis::Reply call(const std::vector<std::string>& words);
    void begin_script();

    Data data;
    bool is_up = true;
    std::size_t number = 0; // for people

private:
    [[nodiscard]] redis::Reply hash_call(const std::vector<std::string>& words);
    [[nodiscard]] redis::Reply set_call(const std::vector<std::string>& words);
    [[nodiscard]] redis::Reply key_call(const std::vector<std::string>& words);
    [[nodiscard]] std::string info(const std::string& section) const;

    std::uint64_t life_;
    std::function<std::int64_t()> now_us_;
    std::function<void(const std::string&)> publish_;
    std::int64_t script_us_ = 0; // time stands still within a script
};

} // namespace doorbuster::model
