"""What tests stand on: real servers, real poolers, a stand-in for Supabase's, and projects made of a few words."""
