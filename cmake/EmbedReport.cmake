# embed_report(TARGET FOLDER): gives TARGET doorbuster::stages::report_page() (app/stages), the page
# of `bench stages` as FOLDER builds it. That needs Node.js 18 or newer with npm; without them, or
# where DOORBUSTER_PAGES is off, the function returns nothing and the command says so.
function(embed_report target folder)
  set(out ${PROJECT_BINARY_DIR}/generated/app/stages/report_page.cc)
  find_program(NODE NAMES node nodejs)
  find_program(NPM npm)
  mark_as_advanced(NODE NPM)
  set(version "0")
  if(NODE AND NPM AND NOT DOORBUSTER_SANITIZE AND NOT "${DOORBUSTER_PAGES}" STREQUAL "off")
    execute_process(COMMAND ${NODE} --version OUTPUT_VARIABLE version ERROR_QUIET
      OUTPUT_STRIP_TRAILING_WHITESPACE)
    string(REGEX REPLACE "^v" "" version "${version}")
  endif()
  target_sources(${target} PRIVATE ${out})
  if(version VERSION_LESS 18)
    message(STATUS "Without the page of `bench stages`: no Node.js 18 with npm, or not wanted")
    file(CONFIGURE OUTPUT ${out} CONTENT [[
#include "app/stages/report_page.h"

namespace doorbuster::stages {

std::string_view report_page() { return {}; }

} // namespace doorbuster::stages
]] @ONLY)
    return()
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.html ${folder}/*.js ${folder}/../*.json
    ${folder}/src/* ${folder}/tools/*)
  add_custom_command(OUTPUT ${out}
    COMMAND ${folder}/tools/build ${NODE} ${NPM} ${out}
    DEPENDS ${sources}
    COMMENT "Building the page of `bench stages`"
    VERBATIM)
endfunction()
