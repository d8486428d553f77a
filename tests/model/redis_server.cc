#include "redis_server.h"

#include <algorithm>
#include <cstdlib>
#include <fmt/format.h>

#include "base/assert.h"

extern "C" {
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
}

namespace doorbuster::model {
namespace {

using redis::Reply;

constexpr const char* kSelf = "model";

Reply integer(std::size_t value) {
    Reply reply;
    reply.kind = Reply::Kind::integer;
    reply.integer = static_cast<std::int64_t>(value);
    return reply;
}
Reply text(std::string value) {
    Reply reply;
    reply.kind = Reply::Kind::text;
    reply.text = std::move(value);
    return reply;
}
Reply ok() {
    Reply reply;
    reply.kind = Reply::Kind::status;
    reply.text = "OK";
    return reply;
}
Reply error(std::string why) {
    Reply reply;
    reply.kind = Reply::Kind::error;
    reply.text = std::move(why);
    return reply;
}
Reply array() {
    Reply reply;
    reply.kind = Reply::Kind::array;
    return reply;
}
Reply wrong_arity() { return error("ERR wrong number of arguments"); }

// As Redis converts a reply for a script (eval-intro, "data type conversion").
void push(lua_State* lua, const Reply& reply) {
    switch (reply.kind) {
    case Reply::Kind::nil: lua_pushboolean(lua, 0); return;
    case Reply::Kind::integer: lua_pushnumber(lua, static_cast<double>(reply.integer)); return;
    case Reply::Kind::text: lua_pushlstring(lua, reply.text.data(), reply.text.size()); return;
    case Reply::Kind::status:
        lua_newtable(lua);
        lua_pushlstring(lua, reply.text.data(), reply.text.size());
        lua_setfield(lua, -2, "ok");
        return;
    case Reply::Kind::array:
        lua_createtable(lua, static_cast<int>(reply.items.size()), 0);
        for (std::size_t i = 0; i < reply.items.size(); ++i) {
            push(lua, reply.items[i]);
            lua_rawseti(lua, -2, static_cast<int>(i) + 1);
        }
        return;
    case Reply::Kind::error: break;
    }
    DB_ASSERT(!"an error is raised, not pushed");
}

// And what a script returns for its caller.
Reply pop(lua_State* lua, int at) {
    switch (lua_type(lua, at)) {
    case LUA_TSTRING: {
        std::size_t size = 0;
        const char* bytes = lua_tolstring(lua, at, &size);
        return text(std::string(bytes, size));
    }
    case LUA_TNUMBER: {
        Reply reply;
        reply.kind = Reply::Kind::integer;
        reply.integer = static_cast<std::int64_t>(lua_tonumber(lua, at));
        return reply;
    }
    case LUA_TTABLE: break;
    case LUA_TBOOLEAN:
        if (lua_toboolean(lua, at) != 0) return integer(1);
        return {};
    default: return {};
    }
    Reply reply = array();
    for (int i = 1;; ++i) {
        lua_rawgeti(lua, at, i);
        const bool is_end = lua_isnil(lua, -1);
        if (!is_end) reply.items.push_back(pop(lua, lua_gettop(lua)));
        lua_pop(lua, 1);
        if (is_end) return reply;
    }
}

void push_list(lua_State* lua, const char* name, const std::vector<std::string>& words) {
    lua_createtable(lua, static_cast<int>(words.size()), 0);
    for (std::size_t i = 0; i < words.size(); ++i) {
        lua_pushlstring(lua, words[i].data(), words[i].size());
        lua_rawseti(lua, -2, static_cast<int>(i) + 1);
    }
    lua_setglobal(lua, name);
}

int refuse_global(lua_State* lua) {
    return luaL_error(lua, "Script attempted to create global variable '%s'", lua_tostring(lua, 2));
}

} // namespace

int redis_call(lua_State* lua) {
    lua_getfield(lua, LUA_REGISTRYINDEX, kSelf);
    auto* self = static_cast<LuaScripts*>(lua_touserdata(lua, -1));
    lua_pop(lua, 1);
    bool is_error = false;
    {
        std::vector<std::string> words;
        const int count = lua_gettop(lua);
        for (int i = 1; i <= count; ++i) {
            std::size_t size = 0;
            const char* bytes = lua_tolstring(lua, i, &size);
            words.emplace_back(bytes == nullptr ? "" : bytes, size);
        }
        const Reply reply = self->server_->call(words);
        is_error = reply.is_error();
        if (is_error) lua_pushlstring(lua, reply.text.data(), reply.text.size());
        else push(lua, reply);
    } // lua_error() runs no destructors
    return is_error ? lua_error(lua) : 1;
}

LuaScripts::LuaScripts() : lua_(luaL_newstate()) {
    DB_ASSERT(lua_ != nullptr);
    luaL_openlibs(lua_);
    lua_pushlightuserdata(lua_, this);
    lua_setfield(lua_, LUA_REGISTRYINDEX, kSelf);
    lua_newtable(lua_);
    lua_pushcfunction(lua_, redis_call);
    lua_setfield(lua_, -2, "call");
    lua_setglobal(lua_, "redis");
    push_list(lua_, "KEYS", {});
    push_list(lua_, "ARGV", {});
    // As in Redis, a script has no globals of its own.
    lua_pushvalue(lua_, LUA_GLOBALSINDEX);
    lua_newtable(lua_);
    lua_pushcfunction(lua_, refuse_global);
    lua_setfield(lua_, -2, "__newindex");
    lua_setmetatable(lua_, -2);
    lua_pop(lua_, 1);
}

LuaScripts::~LuaScripts() { lua_close(lua_); }

int LuaScripts::load(const redis::Script& script) {
    const auto at = by_sha1_.find(script.sha1());
    if (at != by_sha1_.end()) return at->second;
    const int number = static_cast<int>(texts_.size());
    texts_.emplace_back(script.text());
    compiled_.push_back(LUA_NOREF);
    by_sha1_.emplace(script.sha1(), number);
    return number;
}

int LuaScripts::compile(int script) {
    int& reference = compiled_[static_cast<std::size_t>(script)];
    if (reference == LUA_NOREF) {
        const std::string& code = texts_[static_cast<std::size_t>(script)];
        const int failed = luaL_loadbuffer(lua_, code.data(), code.size(), "@script");
        DB_ASSERT(failed == 0);
        reference = luaL_ref(lua_, LUA_REGISTRYINDEX);
    }
    return reference;
}

void LuaScripts::flush() {
    for (int& reference : compiled_) {
        luaL_unref(lua_, LUA_REGISTRYINDEX, reference);
        reference = LUA_NOREF;
    }
}

Reply LuaScripts::run(RedisServer& server, int script, const std::vector<std::string>& keys,
                      const std::vector<std::string>& arguments) {
    server_ = &server;
    server.begin_script();
    lua_rawgeti(lua_, LUA_REGISTRYINDEX, compile(script));
    push_list(lua_, "KEYS", keys);
    push_list(lua_, "ARGV", arguments);
    const int failed = lua_pcall(lua_, 0, 1, 0);
    Reply reply = failed != 0 ? error(std::string("ERR ") + lua_tostring(lua_, -1))
                              : pop(lua_, lua_gettop(lua_));
    lua_pop(lua_, 1);
    return reply;
}

// --- commands --------------------------------------------------------------------------------

void RedisServer::begin_script() {
    script_us_ = now_us_();
    std::erase_if(data, [this](const auto& entry) {
        return entry.second.gone_at_ms && *entry.second.gone_at_ms <= script_us_ / 1'000;
    });
}

Reply RedisServer::call(const std::vector<std::string>& words) {
    if (words.size() < 2) {
        if (words.size() != 1 || words[0] != "TIME") return wrong_arity();
        Reply time = array();
        time.items.push_back(text(std::to_string(script_us_ / 1'000'000)));
        time.items.push_back(text(std::to_string(script_us_ % 1'000'000)));
        return time;
    }
    if (words[0] == "INFO") return text(info(words[1]));
    if (words[0] == "PUBLISH") {
        if (words.size() != 3) return wrong_arity();
        publish_(words[2]);
        return integer(1);
    }
    Reply reply = words[0].starts_with("H")   ? hash_call(words)
                  : words[0].starts_with("Z") ? set_call(words)
                                              : key_call(words);
    const auto at = data.find(words[1]);
    if (at != data.end() && at->second.is_empty()) data.erase(at);
    return reply;
}

Reply RedisServer::hash_call(const std::vector<std::string>& words) {
    const std::string& name = words[0];
    auto& fields = data[words[1]].fields;
    const auto value_of = [&fields](const std::string& field) {
        const auto at = fields.find(field);
        return at == fields.end() ? Reply() : text(at->second);
    };
    if (name == "HLEN" && words.size() == 2) return integer(fields.size());
    if (words.size() < 3) return wrong_arity();
    if (name == "HGET") return words.size() == 3 ? value_of(words[2]) : wrong_arity();
    if (name == "HMGET") {
        Reply values = array();
        for (std::size_t i = 2; i < words.size(); ++i) values.items.push_back(value_of(words[i]));
        return values;
    }
    if (name == "HDEL") {
        std::size_t gone = 0;
        for (std::size_t i = 2; i < words.size(); ++i) gone += fields.erase(words[i]);
        return integer(gone);
    }
    if (name != "HSET") return error("ERR unknown command '" + name + "'");
    if (words.size() % 2 != 0) return wrong_arity();
    std::size_t added = 0;
    for (std::size_t i = 2; i < words.size(); i += 2) {
        added += fields.insert_or_assign(words[i], words[i + 1]).second ? 1U : 0U;
    }
    return integer(added);
}

Reply RedisServer::set_call(const std::vector<std::string>& words) {
    const std::string& name = words[0];
    auto& scores = data[words[1]].scores;
    if (name == "ZCARD" && words.size() == 2) return integer(scores.size());
    if (words.size() < 3) return wrong_arity();
    if (name == "ZREM") {
        std::size_t gone = 0;
        for (std::size_t i = 2; i < words.size(); ++i) gone += scores.erase(words[i]);
        return integer(gone);
    }
    if (name == "ZADD") {
        if (words.size() % 2 != 0) return wrong_arity();
        std::size_t added = 0;
        for (std::size_t i = 2; i < words.size(); i += 2) {
            const double score = std::strtod(words[i].c_str(), nullptr);
            added += scores.insert_or_assign(words[i + 1], score).second ? 1U : 0U;
        }
        return integer(added);
    }
    const bool is_range = name == "ZRANGEBYSCORE" && words.size() == 7 && words[2] == "-inf" &&
                          words[3].starts_with("(") && words[4] == "LIMIT" && words[5] == "0";
    if (!is_range) return error("ERR unknown command '" + name + "', or unknown here");
    const double below = std::strtod(words[3].c_str() + 1, nullptr);
    const auto count_max = static_cast<std::size_t>(std::strtoul(words[6].c_str(), nullptr, 10));
    std::set<std::pair<double, std::string>> found;
    for (const auto& [member, score] : scores) {
        if (score < below) found.emplace(score, member);
    }
    Reply members = array();
    for (const auto& [score, member] : found) {
        if (members.items.size() < count_max) members.items.push_back(text(member));
    }
    return members;
}

Reply RedisServer::key_call(const std::vector<std::string>& words) {
    const std::string& name = words[0];
    if (name == "UNLINK") {
        std::size_t gone = 0;
        for (std::size_t i = 1; i < words.size(); ++i) gone += data.erase(words[i]);
        return integer(gone);
    }
    const auto at = data.find(words[1]);
    if (name == "RENAME" && words.size() == 3) {
        if (at == data.end()) return error("ERR no such key");
        data[words[2]] = std::move(at->second);
        data.erase(words[1]);
        return ok();
    }
    if (name == "PERSIST" && words.size() == 2) {
        const bool had = at != data.end() && at->second.gone_at_ms;
        if (had) at->second.gone_at_ms.reset();
        return integer(had ? 1 : 0);
    }
    if (name == "PEXPIRE" && words.size() == 3) {
        if (at == data.end()) return integer(0);
        at->second.gone_at_ms = script_us_ / 1'000 + std::strtoll(words[2].c_str(), nullptr, 10);
        return integer(1);
    }
    return error("ERR unknown command '" + name + "'");
}

std::string RedisServer::info(const std::string& section) const {
    if (section == "server") {
        return fmt::format("# Server\r\nredis_version:7.0.15\r\nrun_id:{:040x}\r\n", life_);
    }
    return fmt::format("# Replication\r\nrole:master\r\nmaster_replid:{:040x}\r\n", life_ + 1);
}

} // namespace doorbuster::model
