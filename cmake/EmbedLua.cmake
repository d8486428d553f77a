# embed_lua(OUT.h namespace file...): writes a header with one string constant for every script:
# `inline constexpr std::string_view namespace::rate_limiter` for rate_limiter.lua.
function(embed_lua out namespace)
  set(header "// Made from Lua scripts by cmake/EmbedLua.cmake.\n#pragma once\n\n")
  string(APPEND header "#include <string_view>\n\nnamespace ${namespace} {\n\n")
  foreach(script IN LISTS ARGN)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${script})
    get_filename_component(name ${script} NAME_WE)
    file(READ ${script} text)
    string(APPEND header "inline constexpr std::string_view ${name} = R\"lua(${text})lua\";\n\n")
  endforeach()
  string(APPEND header "} // namespace ${namespace}\n")
  file(CONFIGURE OUTPUT ${out} CONTENT "${header}" @ONLY)
endfunction()
