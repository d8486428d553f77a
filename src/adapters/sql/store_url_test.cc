#include "adapters/sql/store_url.h"

#include <gtest/gtest.h>

namespace doorbuster::sql {
namespace {

TEST(StoreUrl, NamesASqliteFile) {
    for (const char* text : {"sqlite:/data/orders.db", "/data/orders.db"}) {
        const auto url = parse_store_url(text);
        ASSERT_TRUE(url.has_value());
        EXPECT_EQ(url->dialect, Dialect::sqlite);
        EXPECT_EQ(url->path, "/data/orders.db");
        EXPECT_EQ(url->name, "/data/orders.db");
    }
    EXPECT_FALSE(parse_store_url("sqlite:").has_value());
    EXPECT_FALSE(parse_store_url("").has_value());
}

TEST(StoreUrl, NamesAServerAndShowsNoPassword) {
    const auto url =
        parse_store_url("postgresql://anna:p%40ss%2F'%20\\w@db.example:5433/shop?sslmode=require");
    ASSERT_TRUE(url.has_value());
    EXPECT_EQ(url->dialect, Dialect::postgresql);
    EXPECT_EQ(url->name, "postgresql://anna@db.example:5433/shop");
    EXPECT_EQ(url->password, "p@ss/' \\w");
    // A URL again, in which nothing can be taken for anything else.
    EXPECT_TRUE(
        url->connect.starts_with("postgresql://anna:p%40ss%2F%27%20%5Cw@db.example:5433/shop?"))
        << url->connect;
    EXPECT_TRUE(url->connect.ends_with("&sslmode=require"));

    const auto mysql = parse_store_url("mysql://anna:it's\\%20me@[::1]:3307/shop?ssl_ca=/ca.pem");
    ASSERT_TRUE(mysql.has_value());
    EXPECT_EQ(mysql->dialect, Dialect::mysql);
    EXPECT_EQ(mysql->name, "mysql://anna@[::1]:3307/shop");
    EXPECT_NE(mysql->connect.find(" password='it\\'s\\\\ me'"), std::string::npos);
    EXPECT_NE(mysql->connect.find(" host='::1' port='3307'"), std::string::npos);
    EXPECT_NE(mysql->connect.find(" sslca='/ca.pem'"), std::string::npos);
}

TEST(StoreUrl, NamesASocketOfThisMachine) {
    const auto postgresql = parse_store_url("postgres:///shop?host=/run/postgresql");
    ASSERT_TRUE(postgresql.has_value());
    EXPECT_NE(postgresql->connect.find("&host=%2Frun%2Fpostgresql"), std::string::npos);
    const auto mysql = parse_store_url("mariadb://root@localhost/shop?unix_socket=/run/my.sock");
    ASSERT_TRUE(mysql.has_value());
    EXPECT_NE(mysql->connect.find(" host='localhost'"), std::string::npos);
    EXPECT_NE(mysql->connect.find(" unix_socket='/run/my.sock'"), std::string::npos);
    // Without one "localhost" means TCP.
    EXPECT_NE(parse_store_url("mysql://localhost/shop")->connect.find(" host='127.0.0.1'"),
              std::string::npos);
}

TEST(StoreUrl, IsRefusedWithoutShowingIt) {
    for (const char* text :
         {"oracle://anna:secret@h/d", "postgresql://anna:secret%zz@h/d",
          "postgresql://anna:secret%2@h/d", "postgresql://anna:secret%00@h/d",
          "postgresql://anna:secret@h:port/d", "postgresql://anna:secret@h/d?password=secret",
          "postgresql://anna:secret@h/d?singlerows=true", "mysql://anna:secret@h",
          "mysql://anna:secret@h/d?sslmode=require", "postgresql://anna:secret@[::1/d",
          "mysql://anna:secret@h/d?=x"}) {
        const auto url = parse_store_url(text);
        ASSERT_FALSE(url.has_value()) << text;
        EXPECT_TRUE(url.error().is(Errc::invalid));
        EXPECT_EQ(url.error().message().find("secret"), std::string::npos);
    }
}

} // namespace
} // namespace doorbuster::sql
