# Tests: unit tests beside their sources, black-box tests in tests/, run by ctest under labels.
enable_testing()
include(GoogleTest)
find_package(GTest REQUIRED)
find_package(rapidcheck REQUIRED)

# One program a library: every *_test.cc of the folder.
function(doorbuster_tests name folder)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${folder}/*_test.cc)
  if(NOT sources)
    return()
  endif()
  add_executable(${name}_test ${sources})
  target_link_libraries(${name}_test PRIVATE ${ARGN} GTest::gtest GTest::gmock GTest::gtest_main
    rapidcheck)
  gtest_discover_tests(${name}_test TEST_PREFIX ${name}. PROPERTIES LABELS unit TIMEOUT 300
    DISCOVERY_TIMEOUT 60)
endfunction()

doorbuster_tests(base base doorbuster_base)
doorbuster_tests(domain domain doorbuster_domain)
doorbuster_tests(runtime runtime doorbuster_runtime)
doorbuster_tests(ports ports doorbuster_ports)
doorbuster_tests(engine engine doorbuster_engine doorbuster_memory)
doorbuster_tests(http adapters/http doorbuster_http doorbuster_memory)
doorbuster_tests(memory adapters/memory doorbuster_memory)
doorbuster_tests(sqlite adapters/sqlite doorbuster_sqlite)
doorbuster_tests(sql adapters/sql doorbuster_sql doorbuster_engine SQLite::SQLite3)
if(DOORBUSTER_SANITIZE MATCHES "undefined")
  target_compile_options(sql_test PRIVATE -fno-sanitize=vptr) # as doorbuster_sql: SOCI's types
endif()
# librdkafka starts its threads by C11's thrd_create, which GCC's ThreadSanitizer does not see: such
# a thread is no thread to it, and ends the process.
if(NOT DOORBUSTER_SANITIZE MATCHES "thread")
  doorbuster_tests(kafka adapters/kafka doorbuster_kafka doorbuster_engine)
endif()
doorbuster_tests(jwt adapters/jwt doorbuster_jwt)
doorbuster_tests(webhook adapters/webhook doorbuster_webhook)
doorbuster_tests(redis adapters/redis doorbuster_redis)
doorbuster_tests(app app doorbuster_app)
doorbuster_tests(commands app/commands doorbuster_app)
doorbuster_tests(load app/load doorbuster_app)
doorbuster_tests(stages app/stages doorbuster_app)

# The model of a cluster: the production code under a simulated Redis, Kafka, store and time.
pkg_check_modules(LUA51 REQUIRED IMPORTED_TARGET lua5.1)
file(GLOB model_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/model/*.cc)
add_executable(model_test ${model_sources})
target_include_directories(model_test PRIVATE ${PROJECT_SOURCE_DIR}/tests/model)
target_link_libraries(model_test PRIVATE doorbuster_engine doorbuster_redis PkgConfig::LUA51
  GTest::gtest GTest::gtest_main)
gtest_discover_tests(model_test TEST_PREFIX model. PROPERTIES LABELS model TIMEOUT 600
  DISCOVERY_TIMEOUT 60)

# The black-box tests run this build's own binary. A sanitizer makes it ten times slower: the tests
# then run with smaller numbers and wider bounds.
set(harness_environment DOORBUSTER_BIN=$<TARGET_FILE:doorbuster> PYTHONDONTWRITEBYTECODE=1)
if(DOORBUSTER_SANITIZE)
  list(APPEND harness_environment DOORBUSTER_SLOW=1)
endif()

# One ctest entry a file, so that a failure names its subject.
function(doorbuster_pytest label timeout_s)
  file(GLOB files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${label}/test_*.py)
  foreach(file IN LISTS files)
    get_filename_component(name ${file} NAME_WE)
    string(REGEX REPLACE "^test_" "" name ${name})
    add_test(NAME ${label}.${name}
      COMMAND /usr/bin/python3 -m pytest -q -p no:cacheprovider ${file}
      WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(${label}.${name} PROPERTIES LABELS ${label} TIMEOUT ${timeout_s}
      ENVIRONMENT "${harness_environment}" RUN_SERIAL ON)
  endforeach()
endfunction()

doorbuster_pytest(e2e 600)
doorbuster_pytest(fault 600)
doorbuster_pytest(crash 600)
doorbuster_pytest(cluster 600)
doorbuster_pytest(edge 1200)

# Those in which many things happen at once: the ones that ThreadSanitizer should look on at.
foreach(name exactly_once idempotency limits order_events order_life purchases resale
        running_a_sale shutdown webhooks)
  set_tests_properties(e2e.${name} PROPERTIES LABELS "e2e;race")
endforeach()

# The tree's own rules, and the scripts.
add_test(NAME tools.layers COMMAND ${PROJECT_SOURCE_DIR}/tools/check_layers ${PROJECT_SOURCE_DIR})
add_test(NAME tools.style COMMAND ${PROJECT_SOURCE_DIR}/tools/check_style ${PROJECT_SOURCE_DIR})
add_test(NAME tools.scripts
  COMMAND /usr/bin/python3 -m pytest -q -p no:cacheprovider tools/tests
          --ignore=tools/tests/test_services.py
  WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
# By itself: it starts and kills every engine.
add_test(NAME tools.services
  COMMAND /usr/bin/python3 -m pytest -q -p no:cacheprovider tools/tests/test_services.py
  WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(tools.layers tools.style tools.scripts PROPERTIES LABELS tools TIMEOUT 300)
set_tests_properties(tools.services PROPERTIES LABELS services TIMEOUT 600)
